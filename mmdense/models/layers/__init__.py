"""Small layers that several networks share."""

from .axial_attention import AxialAttention
from .batch_norm import BNSettings, eval_affine
from .checkpoint import checkpointed
from .conv_norm import ConvNorm, LinearNorm
from .drop_path import DropPath
from .fold import fold_batch_norms
from .init import ConstructorInitModule, he_trunc_normal_, reset_tree, trunc_normal_
from .layer_norm import ChannelLayerNorm
from .precision import as_parameters_of, at_least_float32, full_precision

__all__ = [
    'AxialAttention',
    'BNSettings',
    'ChannelLayerNorm',
    'ConstructorInitModule',
    'ConvNorm',
    'DropPath',
    'LinearNorm',
    'as_parameters_of',
    'at_least_float32',
    'checkpointed',
    'eval_affine',
    'fold_batch_norms',
    'full_precision',
    'he_trunc_normal_',
    'reset_tree',
    'trunc_normal_',
]
