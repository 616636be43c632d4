"""Projections of one map for several attention blocks, as one convolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


def xavier_conv1x1(in_channels: int, out_channels: int, num: int = 1, groups: int = 1) -> nn.Conv2d:
    """A 1x1 convolution without bias that stands for ``num`` of ``out_channels`` each.

    Each is Xavier-uniform by itself: the stacked weight has another fan-out.
    """
    conv = nn.Conv2d(in_channels, num * out_channels, 1, groups=groups, bias=False)
    for part in conv.weight.chunk(num):
        nn.init.xavier_uniform_(part)
    return conv


class StackedProjection(nn.Module):
    """Queries, or keys and values, of several blocks that read the same map.

    A query or key is conv1x1-BN-ReLU-conv1x1-BN-activation, a value conv1x1-BN-ReLU, all
    without bias and Xavier-uniform. First convolutions run as one, second ones as one grouped
    convolution; numbers and parameters are those of separate ones.

    Children: ``first`` (queries or keys of all blocks, then values), ``first_norm``, ``second``,
    ``second_norm``, ``value_norm`` (with ``values``).

    Args:
        in_channels (int): C.
        channels (int): D.
        softplus (Sequence[bool]): Per block whether the query or key ends in a softplus; else a
            ReLU.
        values (bool): Whether values are made too.
        value_affine (bool): Whether the norm of the values has scale and shift.

    Shape:
        - input: ``(B, C, H, W)``.
        - output: per block a query or key ``(B, D, H, W)``, and a value of the same shape (None
          without ``values``).
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        softplus: Sequence[bool],
        values: bool = False,
        value_affine: bool = True,
    ) -> None:
        super().__init__()
        self.softplus = tuple(softplus)
        num = len(self.softplus)
        self.width = num * channels
        self.first = xavier_conv1x1(in_channels, channels, num * (2 if values else 1))
        self.first_norm = nn.BatchNorm2d(self.width)
        self.second = xavier_conv1x1(self.width, channels, num, groups=num)
        self.second_norm = nn.BatchNorm2d(self.width)
        self.value_norm = nn.BatchNorm2d(self.width, affine=value_affine) if values else None

    def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        y = self.first(x)
        hidden = self.first_norm(y[:, : self.width]).relu()
        parts = self.second_norm(self.second(hidden)).chunk(len(self.softplus), 1)
        first = [F.softplus(p) if soft else p.relu() for p, soft in zip(parts, self.softplus)]
        if self.value_norm is None:
            return [(part, None) for part in first]
        values = self.value_norm(y[:, self.width :]).relu().chunk(len(first), 1)
        return list(zip(first, values))
