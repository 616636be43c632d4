"""Necks: features to features."""

from .coherence_fusion import CoherenceFusion
from .cross_task_affinity import CrossTaskAffinity
from .deformable_mixer import DeformableMixer
from .demt_neck import DeMTNeck
from .feature_propagation import FeaturePropagation
from .hr_fusion import HRFusion
from .initial_task_heads import InitialTaskHeads
from .kmax_pixel_decoder import KMaXPixelDecoder
from .mask2former_embedding import Mask2FormerEmbedding
from .mtcp_neck import MTCPNeck
from .multi_scale_fusion import MultiScaleFusion
from .multi_scale_initial_task_heads import MultiScaleInitialTaskHeads
from .pad_distillation import MultiScaleDistillation, PADDistillation
from .pattern_affinity_propagation import PatternAffinityPropagation
from .preliminary_decoder import PreliminaryDecoder
from .pyramid_fusion import PyramidFusion
from .relational_context import RelationalContext
from .relational_context_search import RelationalContextSearch
from .spatial_refinement import SpatialRefinement
from .swin_task_decoder import SwinTaskDecoder
from .task_interaction import TaskInteraction
from .task_query import TaskQuery
from .up_transformer import UPTransformer
from .width_reduction import WidthReduction

__all__ = [
    'CoherenceFusion',
    'CrossTaskAffinity',
    'DeMTNeck',
    'DeformableMixer',
    'FeaturePropagation',
    'HRFusion',
    'InitialTaskHeads',
    'KMaXPixelDecoder',
    'MTCPNeck',
    'Mask2FormerEmbedding',
    'MultiScaleDistillation',
    'MultiScaleFusion',
    'MultiScaleInitialTaskHeads',
    'PADDistillation',
    'PatternAffinityPropagation',
    'PreliminaryDecoder',
    'PyramidFusion',
    'RelationalContext',
    'RelationalContextSearch',
    'SpatialRefinement',
    'SwinTaskDecoder',
    'TaskInteraction',
    'TaskQuery',
    'UPTransformer',
    'WidthReduction',
]
