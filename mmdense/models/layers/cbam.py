"""Convolutional block attention: a gate per channel, then a gate per pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

REDUCTION = 16


class CBAM(nn.Module):
    """Convolutional block attention module (Woo et al., ECCV 2018) as MT-CP (WACV 2025) uses it.

    The channel gate is the sigmoid of one MLP applied to the mean and to the maximum of every
    channel, summed. The spatial gate is the sigmoid of a normalised 7x7 convolution of the
    maximum and the mean over the channels, in this order. PyTorch's initial weights.

    Args:
        channels (int): C.
        reduction (int): The MLP has ``C // reduction`` hidden units, at least one.

    Shape:
        - input and output: ``(B, C, h, w)``.
    """

    def __init__(self, channels: int, reduction: int = REDUCTION) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.channel_gate = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels)
        )
        self.spatial_gate = nn.Sequential(
            nn.Conv2d(2, 1, 7, padding=3, bias=False), nn.BatchNorm2d(1, momentum=0.01)
        )

    def forward(self, x: Tensor) -> Tensor:
        # Both pooled vectors through the MLP at once.
        pooled = torch.stack((x.mean(dim=(2, 3)), x.amax(dim=(2, 3))))
        x = x * self.channel_gate(pooled).sum(dim=0).sigmoid()[:, :, None, None]
        pooled = torch.cat((x.amax(dim=1, keepdim=True), x.mean(dim=1, keepdim=True)), dim=1)
        return x * self.spatial_gate(pooled).sigmoid()
