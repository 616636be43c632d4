"""Necks: features to features."""

from .cross_task_affinity import CrossTaskAffinity
from .deformable_mixer import DeformableMixer
from .demt_neck import DeMTNeck
from .kmax_pixel_decoder import KMaXPixelDecoder
from .multi_scale_fusion import MultiScaleFusion
from .pattern_affinity_propagation import PatternAffinityPropagation
from .task_interaction import TaskInteraction
from .task_query import TaskQuery
from .width_reduction import WidthReduction

__all__ = [
    'CrossTaskAffinity',
    'DeMTNeck',
    'DeformableMixer',
    'KMaXPixelDecoder',
    'MultiScaleFusion',
    'PatternAffinityPropagation',
    'TaskInteraction',
    'TaskQuery',
    'WidthReduction',
]
