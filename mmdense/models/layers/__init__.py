"""Small layers that several networks share."""

from .axial_attention import AxialAttention
from .batch_norm import BNSettings, eval_affine
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
from .deformable_conv import OFFSET_MODES, DeformableConv1x1, OffsetPredictor
from .drop_path import DropPath
from .fold import fold_batch_norms
from .init import ConstructorInitModule, he_trunc_normal_, reset_tree, trunc_normal_
from .layer_norm import ChannelLayerNorm
from .precision import as_parameters_of, at_least_float32, full_precision
from .stacked_projection import StackedProjection, xavier_conv1x1
from .token_attention import TokenAttention, TokenMLP, to_map, to_tokens

__all__ = [
    'OFFSET_MODES',
    'AxialAttention',
    'BNSettings',
    'ChannelLayerNorm',
    'ConstructorInitModule',
    'ContextType',
    'ConvNorm',
    'DeformableConv1x1',
    'DropPath',
    'GlobalContext',
    'LinearNorm',
    'LocalContext',
    'OffsetPredictor',
    'SourceLabelContext',
    'StackedProjection',
    'TargetLabelContext',
    'TokenAttention',
    'TokenMLP',
    'as_parameters_of',
    'at_least_float32',
    'checkpointed',
    'eval_affine',
    'fold_batch_norms',
    'full_precision',
    'global_context',
    'he_trunc_normal_',
    'label_context',
    'pool_by_labels',
    'reset_tree',
    'spatial_softmax',
    'to_map',
    'to_tokens',
    'trunc_normal_',
    'xavier_conv1x1',
]
