"""Small layers that several networks share."""

from .axial_attention import AxialAttention
from .batch_norm import BNSettings, eval_affine
from .checkpoint import checkpointed
from .conv_norm import ConvNorm, LinearNorm
from .deformable_conv import OFFSET_MODES, DeformableConv1x1, OffsetPredictor
from .drop_path import DropPath
from .fold import fold_batch_norms
from .init import ConstructorInitModule, he_trunc_normal_, reset_tree, trunc_normal_
from .layer_norm import ChannelLayerNorm
from .message_passing_attention import MessagePassingAttention, mixed_score_attention
from .precision import as_parameters_of, at_least_float32, full_precision
from .token_attention import TokenAttention, TokenMLP, to_map, to_tokens

__all__ = [
    'OFFSET_MODES',
    'AxialAttention',
    'BNSettings',
    'ChannelLayerNorm',
    'ConstructorInitModule',
    'ConvNorm',
    'DeformableConv1x1',
    'DropPath',
    'LinearNorm',
    'OffsetPredictor',
    'MessagePassingAttention',
    'TokenAttention',
    'TokenMLP',
    'as_parameters_of',
    'at_least_float32',
    'checkpointed',
    'eval_affine',
    'fold_batch_norms',
    'full_precision',
    'he_trunc_normal_',
    'mixed_score_attention',
    'reset_tree',
    'to_map',
    'to_tokens',
    'trunc_normal_',
]
