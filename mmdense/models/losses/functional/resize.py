"""Bilinear resizing as every loss and head does it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .reduction import at_least_float32


def resize(maps: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    """Resize ``(B, C, h, w)`` bilinearly to ``size`` (H, W), in fp32 or wider.

    fp32 because half precision leaves visible steps in an enlarged map.
    """
    maps = at_least_float32(maps)
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=size, mode='bilinear', align_corners=align_corners)
