"""Necks: features to features."""

from .cross_task_affinity import CrossTaskAffinity
from .deformable_mixer import DeformableMixer
from .demt_neck import DeMTNeck
from .feature_propagation import FeaturePropagation
from .hr_fusion import HRFusion
from .initial_task_heads import InitialTaskHeads
from .kmax_pixel_decoder import KMaXPixelDecoder
from .multi_scale_fusion import MultiScaleFusion
from .multi_scale_initial_task_heads import MultiScaleInitialTaskHeads
from .pad_distillation import MultiScaleDistillation, PADDistillation
from .pattern_affinity_propagation import PatternAffinityPropagation
from .preliminary_decoder import PreliminaryDecoder
from .relational_context import RelationalContext
from .relational_context_search import RelationalContextSearch
from .task_interaction import TaskInteraction
from .task_query import TaskQuery
from .up_transformer import UPTransformer
from .width_reduction import WidthReduction

__all__ = [
    'CrossTaskAffinity',
    'DeMTNeck',
    'DeformableMixer',
    'FeaturePropagation',
    'HRFusion',
    'InitialTaskHeads',
    'KMaXPixelDecoder',
    'MultiScaleDistillation',
    'MultiScaleFusion',
    'MultiScaleInitialTaskHeads',
    'PADDistillation',
    'PatternAffinityPropagation',
    'PreliminaryDecoder',
    'RelationalContext',
    'RelationalContextSearch',
    'TaskInteraction',
    'TaskQuery',
    'UPTransformer',
    'WidthReduction',
]
