"""Maps of several resolutions as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmdense.models.losses.functional import resize

from .residual_blocks import BATCH_NORM, conv_norm_relu


def concat_levels(maps: Sequence[Tensor], align_corners: bool) -> Tensor:
    """Resize maps ``(B, C_i, h_i, w_i)`` bilinearly to the largest and concatenate them.

    Returns:
        Tensor: ``(B, sum C_i, h, w)``, in the order given.
    """
    if len(maps) == 1:
        return maps[0]
    size = max(((x.shape[-2], x.shape[-1]) for x in maps), key=lambda hw: hw[0] * hw[1])
    return torch.cat([resize(x, size, align_corners).to(x.dtype) for x in maps], dim=1)


class LevelFusion(nn.Module):
    """Concatenates all levels at the finest size and mixes them: 1x1 convolution, norm, ReLU.

    The head of HRNetV2 (Wang et al., PAMI 2020) without its classifier. The convolution has a
    bias, as there.

    Args:
        in_channels (Sequence[int]): Channels of the levels.
        channels (int | None): Output channels. None: the sum of ``in_channels``.
        norm_cfg (Mapping): Norm layer.

    Shape:
        - maps: ``(B, in_channels[i], h_i, w_i)``.
        - output: ``(B, channels, h, w)``, the size of the largest map.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int | None = None,
        norm_cfg: Mapping[str, Any] = BATCH_NORM,
    ) -> None:
        super().__init__()
        total = sum(in_channels)
        self.channels = total if channels is None else channels
        self.mix = conv_norm_relu(total, self.channels, 1, bias=True, norm_cfg=norm_cfg)

    def forward(self, maps: Sequence[Tensor], align_corners: bool) -> Tensor:
        fused: Tensor = self.mix(concat_levels(maps, align_corners))
        return fused
