"""Backbones: tuple of maps, with their channels and strides."""

from .convnext import ConvNeXt
from .convnext_keys import convert_convnext_keys
from .resnet import ResNet

__all__ = ['ConvNeXt', 'ResNet', 'convert_convnext_keys']
