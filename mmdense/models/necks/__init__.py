"""Necks: features to features."""

from .deformable_mixer import DeformableMixer
from .demt_neck import DeMTNeck
from .kmax_pixel_decoder import KMaXPixelDecoder
from .multi_scale_fusion import MultiScaleFusion
from .relational_context import RelationalContext
from .relational_context_search import RelationalContextSearch
from .task_interaction import TaskInteraction
from .task_query import TaskQuery
from .width_reduction import WidthReduction

__all__ = [
    'DeMTNeck',
    'DeformableMixer',
    'KMaXPixelDecoder',
    'MultiScaleFusion',
    'RelationalContext',
    'RelationalContextSearch',
    'TaskInteraction',
    'TaskQuery',
    'WidthReduction',
]
