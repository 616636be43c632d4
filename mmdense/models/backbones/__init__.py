"""Backbones: tuple of maps, with their channels and strides."""

from .convnext import ConvNeXt
from .convnext_keys import convert_convnext_keys
from .cross_stitch import CrossStitchBackbone
from .dilated_resnet import DilatedResNet
from .hrnet import HRNet
from .mtan import MTANBackbone
from .nddr import NDDRBackbone
from .resnet import ResNet
from .swin import SwinTransformer, convert_swin_keys
from .swin_v2 import SwinV2
from .swin_v2_keys import convert_swin_v2_keys
from .task_backbones import TaskBackbones
from .vision_transformer import VisionTransformer
from .vit_keys import convert_vit_keys

__all__ = [
    'ConvNeXt',
    'CrossStitchBackbone',
    'DilatedResNet',
    'HRNet',
    'MTANBackbone',
    'NDDRBackbone',
    'ResNet',
    'SwinTransformer',
    'SwinV2',
    'TaskBackbones',
    'VisionTransformer',
    'convert_convnext_keys',
    'convert_swin_keys',
    'convert_swin_v2_keys',
    'convert_vit_keys',
]
