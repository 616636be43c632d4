"""Small layers that several networks share."""

from .aspp import ASPP
from .axial_attention import AxialAttention
from .batch_norm import BNSettings, eval_affine
from .cbam import CBAM
from .checkpoint import checkpointed
from .conv_norm import ConvNorm, LinearNorm
from .deformable_conv import OFFSET_MODES, DeformableConv1x1, OffsetPredictor
from .drop_path import DropPath
from .fold import fold_batch_norms
from .init import ConstructorInitModule, he_trunc_normal_, reset_tree, trunc_normal_
from .layer_norm import ChannelLayerNorm
from .level_fusion import LevelFusion, concat_levels
from .precision import as_parameters_of, at_least_float32, full_precision
from .residual_blocks import BATCH_NORM, basic_block, bottleneck, conv_norm_relu, norm_layer
from .token_attention import TokenAttention, TokenMLP, to_map, to_tokens

__all__ = [
    'ASPP',
    'BATCH_NORM',
    'CBAM',
    'OFFSET_MODES',
    'AxialAttention',
    'BNSettings',
    'ChannelLayerNorm',
    'ConstructorInitModule',
    'ConvNorm',
    'DeformableConv1x1',
    'DropPath',
    'LevelFusion',
    'LinearNorm',
    'OffsetPredictor',
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
    'full_precision',
    'he_trunc_normal_',
    'norm_layer',
    'reset_tree',
    'to_map',
    'to_tokens',
    'trunc_normal_',
]
