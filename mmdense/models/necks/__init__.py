"""Necks: features to features."""

from .deformable_mixer import DeformableMixer
from .demt_neck import DeMTNeck
from .kmax_pixel_decoder import KMaXPixelDecoder
from .multi_scale_fusion import MultiScaleFusion
from .preliminary_decoder import PreliminaryDecoder
from .task_interaction import TaskInteraction
from .task_query import TaskQuery
from .up_transformer import UPTransformer
from .width_reduction import WidthReduction

__all__ = [
    'DeMTNeck',
    'DeformableMixer',
    'KMaXPixelDecoder',
    'MultiScaleFusion',
    'PreliminaryDecoder',
    'TaskInteraction',
    'TaskQuery',
    'UPTransformer',
    'WidthReduction',
]
