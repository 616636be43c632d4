"""Small layers that several networks share."""

from .aspp import ASPP
from .axial_attention import AxialAttention
from .batch_norm import BNSettings, eval_affine
from .cbam import CBAM
from .checkpoint import checkpointed
from .context import (
    ContextType,
    GlobalContext,
    LocalContext,
    SourceLabelContext,
    TargetLabelContext,
    global_context,
    label_context,
    pool_by_labels,
    spatial_softmax,
)
from .conv_norm import ConvNorm, LinearNorm
from .cosine_window_attention import CosineWindowAttention
from .cross_stitch import CrossStitchUnit
from .deformable_conv import OFFSET_MODES, DeformableConv1x1, OffsetPredictor
from .drop_path import DropPath
from .fold import fold_batch_norms
from .init import ConstructorInitModule, he_trunc_normal_, reset_tree, trunc_normal_
from .layer_norm import ChannelLayerNorm
from .level_fusion import LevelFusion, concat_levels
from .message_passing_attention import MessagePassingAttention, mixed_score_attention
from .nddr import NDDRLayer
from .precision import as_parameters_of, at_least_float32, full_precision
from .residual_blocks import BATCH_NORM, basic_block, bottleneck, conv_norm_relu, norm_layer
from .stacked_projection import StackedProjection, xavier_conv1x1
from .token_attention import TokenAttention, TokenMLP, to_map, to_tokens
from .windows import from_windows, shifted_apart, to_windows

__all__ = [
    'ASPP',
    'BATCH_NORM',
    'CBAM',
    'OFFSET_MODES',
    'AxialAttention',
    'BNSettings',
    'ChannelLayerNorm',
    'ConstructorInitModule',
    'ContextType',
    'ConvNorm',
    'CosineWindowAttention',
    'CrossStitchUnit',
    'DeformableConv1x1',
    'DropPath',
    'GlobalContext',
    'LevelFusion',
    'LinearNorm',
    'LocalContext',
    'MessagePassingAttention',
    'NDDRLayer',
    'OffsetPredictor',
    'SourceLabelContext',
    'StackedProjection',
    'TargetLabelContext',
    'TokenAttention',
    'TokenMLP',
    'as_parameters_of',
    'at_least_float32',
    'basic_block',
    'bottleneck',
    'checkpointed',
    'concat_levels',
    'conv_norm_relu',
    'eval_affine',
    'fold_batch_norms',
    'from_windows',
    'full_precision',
    'global_context',
    'he_trunc_normal_',
    'label_context',
    'mixed_score_attention',
    'norm_layer',
    'pool_by_labels',
    'reset_tree',
    'shifted_apart',
    'spatial_softmax',
    'to_map',
    'to_tokens',
    'to_windows',
    'trunc_normal_',
    'xavier_conv1x1',
]
