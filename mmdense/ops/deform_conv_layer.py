"""Deformable convolution as a layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .backends import choose
from .deform_conv import deform_conv2d
from .operands import Size, pair


class DeformConv2d(nn.Module):
    """Deformable convolution with offsets given by the caller; see :func:`deform_conv2d`.

    Weight and bias are shaped, named and initialised as those of ``nn.Conv2d``.

    Args:
        in_channels (int): C.
        out_channels (int): D.
        kernel_size (int | Sequence[int]): One number or (rows, columns).
        stride (int | Sequence[int]): Defaults to 1.
        padding (int | Sequence[int]): Defaults to 0.
        dilation (int | Sequence[int]): Defaults to 1.
        groups (int): Defaults to 1.
        bias (bool): Defaults to True.
        backend (str | None): As for :func:`deform_conv2d`. A name is checked here, a device
            only once tensors come. Defaults to None.

    Raises:
        ValueError: If a number or the name of the backend is wrong.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        *,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        backend: str | None = None,
    ) -> None:
        super().__init__()
        if backend is not None:
            choose(backend, 'cpu')
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f'DeformConv2d: groups is {groups}; expected a divisor of in_channels='
                f'{in_channels} and out_channels={out_channels}.'
            )
        self.stride = pair(stride, 'stride', 1)
        self.padding = pair(padding, 'padding', 0)
        self.dilation = pair(dilation, 'dilation', 1)
        self.groups, self.backend = groups, backend
        kernel = pair(kernel_size, 'kernel_size', 1)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *kernel))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform up to 1 / sqrt(fan in)."""
        bound = 1 / math.sqrt(self.weight[0].numel())
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map ``(B, C, H, W)`` and offsets to ``(B, D, Ho, Wo)``."""
        return deform_conv2d(
            x,
            offset,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            mask,
            self.backend,
        )
