"""Backbones: tuple of maps, with their channels and strides."""

from .convnext import ConvNeXt
from .convnext_keys import convert_convnext_keys
from .hrnet import HRNet
from .resnet import ResNet
from .swin import SwinTransformer, convert_swin_keys
from .vision_transformer import VisionTransformer
from .vit_keys import convert_vit_keys

__all__ = [
    'ConvNeXt',
    'HRNet',
    'ResNet',
    'SwinTransformer',
    'VisionTransformer',
    'convert_convnext_keys',
    'convert_swin_keys',
    'convert_vit_keys',
]
