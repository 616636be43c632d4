"""Residual blocks and the convolution units around them, with PyTorch's own initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmcv.cnn import build_norm_layer
from mmseg.models.backbones.resnet import BasicBlock, Bottleneck
from torch import nn

#: Batch norm with PyTorch's eps and momentum.
BATCH_NORM: Mapping[str, Any] = dict(type='BN')


def norm_layer(norm_cfg: Mapping[str, Any], channels: int) -> nn.Module:
    """The norm layer of a config."""
    norm: nn.Module = build_norm_layer(dict(norm_cfg), channels)[1]
    return norm


def conv_norm_relu(
    in_channels: int,
    channels: int,
    kernel_size: int,
    bias: bool = False,
    norm_cfg: Mapping[str, Any] = BATCH_NORM,
    dilation: int = 1,
) -> nn.Sequential:
    """Convolution that keeps the size, norm, ReLU.

    mmcv's ``ConvModule`` with the initial weights of PyTorch (Kaiming uniform, a = sqrt(5))
    in place of mmcv's.
    """
    padding = dilation * (kernel_size // 2)
    return nn.Sequential(
        nn.Conv2d(
            in_channels, channels, kernel_size, padding=padding, dilation=dilation, bias=bias
        ),
        norm_layer(norm_cfg, channels),
        nn.ReLU(inplace=True),
    )


def basic_block(
    in_channels: int, channels: int, norm_cfg: Mapping[str, Any] = BATCH_NORM
) -> nn.Module:
    """Two 3x3 convolutions and a skip (He et al., CVPR 2016): mmseg's block, at stride 1.

    Args:
        in_channels (int): Channels of the input.
        channels (int): Channels of both convolutions and of the output.
        norm_cfg (Mapping): Norm layers.

    The skip is a 1x1 convolution and a norm where input and output differ in channels.
    """
    return _with_skip(BasicBlock, in_channels, channels, channels, norm_cfg)


def bottleneck(in_channels: int, width: int, norm_cfg: Mapping[str, Any] = BATCH_NORM) -> nn.Module:
    """1x1, 3x3 and 1x1 convolution and a skip (He et al., CVPR 2016): mmseg's, at stride 1.

    Args:
        in_channels (int): Channels of the input.
        width (int): Channels of the 3x3 convolution; the output has four times as many.
        norm_cfg (Mapping): Norm layers.

    The skip is a 1x1 convolution and a norm where input and output differ in channels.
    """
    return _with_skip(Bottleneck, in_channels, width, 4 * width, norm_cfg)


def _with_skip(
    block: type[nn.Module],
    in_channels: int,
    planes: int,
    out_channels: int,
    norm_cfg: Mapping[str, Any],
) -> nn.Module:
    skip = None
    if in_channels != out_channels:
        skip = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, bias=False), norm_layer(norm_cfg, out_channels)
        )
    return block(in_channels, planes, downsample=skip, norm_cfg=dict(norm_cfg))
