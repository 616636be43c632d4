"""Layer norm over the channels of a map."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ChannelLayerNorm(nn.LayerNorm):
    """Layer norm over the channel axis of ``(B, C, H, W)``.

    Works on the NHWC view: no copy for ``channels_last`` input, and the output is
    ``channels_last``.

    Args:
        channels (int): C.
        eps (float): Added to the variance. Defaults to 1e-6.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        nhwc = x.permute(0, 2, 3, 1)
        y = F.layer_norm(nhwc, self.normalized_shape, self.weight, self.bias, self.eps)
        return y.permute(0, 3, 1, 2)
