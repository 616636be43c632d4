"""Atrous spatial pyramid pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule, build_activation_layer, build_norm_layer
from torch import Tensor, nn


class ImagePooling(nn.Module):
    """Global average, 1x1 convolution, norm, activation, spread over the map again."""

    def __init__(
        self, in_channels: int, channels: int, norm_cfg: dict[str, Any], act_cfg: dict[str, Any]
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.norm = build_norm_layer(norm_cfg, channels)[1]
        self.act = build_activation_layer(act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.conv(x.mean(dim=(2, 3), keepdim=True))
        # Spread before the norm: same statistics, and a batch of one picture trains too.
        return self.act(self.norm(pooled.expand(-1, -1, *x.shape[2:])))


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (DeepLabv3, arXiv 1706.05587).

    Args:
        in_channels (int): Channels of the map.
        channels (int): Width of each branch and of the output.
        dilations (Sequence[int]): Rates of the 3x3 branches.
        norm_cfg (dict): Norm layer.
        act_cfg (dict): Activation.

    Shape:
        - input: ``(B, in_channels, h, w)``.
        - output: ``(B, channels, h, w)``.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        dilations: Sequence[int],
        norm_cfg: dict[str, Any],
        act_cfg: dict[str, Any],
    ) -> None:
        super().__init__()
        common: dict[str, Any] = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.branches = nn.ModuleList([ConvModule(in_channels, channels, 1, **common)])
        for rate in dilations:
            self.branches.append(
                ConvModule(in_channels, channels, 3, padding=rate, dilation=rate, **common)
            )
        self.branches.append(ImagePooling(in_channels, channels, norm_cfg, act_cfg))
        self.project = ConvModule(channels * len(self.branches), channels, 1, **common)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(torch.cat([branch(x) for branch in self.branches], dim=1))
