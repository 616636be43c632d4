"""Bilinear resizing as every loss and head does it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resize(maps: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    """Resize ``(B, C, h, w)`` bilinearly to ``size`` (H, W) in fp32.

    fp32 because half precision leaves visible steps in an enlarged map.
    """
    maps = maps.float()
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=size, mode='bilinear', align_corners=align_corners)
