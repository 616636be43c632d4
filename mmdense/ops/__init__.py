"""Operators with more than one implementation. Importing them imports no compiled extension."""

from .backends import BACKENDS
from .deform_conv import deform_conv2d
from .deform_conv_layer import DeformConv2d
from .local_attention import local_attention
from .onnx import onnx_deform_conv

__all__ = [
    'BACKENDS',
    'DeformConv2d',
    'deform_conv2d',
    'local_attention',
    'onnx_deform_conv',
]
