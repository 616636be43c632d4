"""Deformable 1x1 convolution with three ways to predict where to look."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdense.ops import deform_conv2d

from .precision import at_least_float32, full_precision

OFFSET_MODES = ('content', 'absolute', 'direct')
# Channels between the two convolutions of the offset branch: rows and columns of a 3x3 kernel.
_CELLS = 9


class OffsetPredictor(nn.Module):
    """Displacements ``(dy, dx)`` in pixels, one pair per pixel and channel group.

    Computed in float32 or wider even under autocast: ``'absolute'`` reaches hundreds of pixels.

    - ``'content'``: two 3x3 convolutions, ``p_conv`` to 18 channels and ``opt`` (two groups);
      the first half of the output holds dy of every group, the second dx. All offsets start
      at 0.
    - ``'absolute'``: the released DeMT. The same two convolutions, but between them the pixel's
      own row (first nine channels) and column (the others), counted from 1, plus the cell of
      a 3x3 kernel is added, and the output is read as interleaved (dy, dx) pairs as it is.
      Offsets start large, do not depend on the picture, and change with its size.
    - ``'direct'``: one 3x3 convolution, interleaved; starts at 0.

    Children: ``p_conv`` and, but for ``'direct'``, ``opt``.

    Args:
        channels (int): Channels of the map.
        groups (int): G, channel groups with a displacement of their own.
        mode (str): ``'content'``, ``'absolute'`` or ``'direct'``.

    Shape:
        - input: ``(B, channels, h, w)``.
        - output: ``(B, 2 G, h, w)``, interleaved (dy, dx).
    """

    def __init__(self, channels: int, groups: int, mode: str = 'content') -> None:
        super().__init__()
        self.mode = mode
        self.groups = groups
        if mode == 'direct':
            self.p_conv = nn.Conv2d(channels, 2 * groups, 3, padding=1)
        else:
            self.p_conv = nn.Conv2d(channels, 2 * _CELLS, 3, padding=1)
            self.opt = nn.Conv2d(2 * _CELLS, 2 * groups, 3, padding=1, groups=2)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise so that ``'content'`` and ``'direct'`` start without displacement."""
        nn.init.zeros_(self.p_conv.weight)
        # The released code leaves both biases as PyTorch initialises them.
        zero_biases = {'content': ('p_conv', 'opt'), 'direct': ('p_conv',), 'absolute': ()}
        for name in zero_biases[self.mode]:
            nn.init.zeros_(getattr(self, name).bias)

    def forward(self, x: Tensor) -> Tensor:
        with full_precision(x):
            x = self._convolve(self.p_conv, at_least_float32(x))
            if self.mode == 'direct':
                return x
            if self.mode == 'absolute':
                return self._convolve(self.opt, x + self._coordinates(x))
            dy, dx = self._convolve(self.opt, x).chunk(2, dim=1)
            return torch.stack([dy, dx], dim=2).flatten(1, 2)

    @staticmethod
    def _convolve(conv: nn.Conv2d, x: Tensor) -> Tensor:
        """``conv`` in the dtype of ``x``, also in a model that was cast to half precision."""
        bias = conv.get_parameter('bias').to(x.dtype)
        return F.conv2d(x, conv.weight.to(x.dtype), bias, padding=1, groups=conv.groups)

    @staticmethod
    def _coordinates(x: Tensor) -> Tensor:
        """Row, then column, of the nine kernel cells at every pixel: ``(18, h, w)``."""
        h, w = x.shape[-2:]
        cell = torch.arange(-1, 2, device=x.device, dtype=x.dtype)
        rows = torch.arange(1, h + 1, device=x.device, dtype=x.dtype)[:, None].expand(h, w)
        columns = torch.arange(1, w + 1, device=x.device, dtype=x.dtype).expand(h, w)
        return torch.cat(
            [
                rows + cell.repeat_interleave(3)[:, None, None],
                columns + cell.repeat(3)[:, None, None],
            ]
        )


class DeformableConv1x1(nn.Module):
    """Every channel group sampled bilinearly at its displacement, then a 1x1 convolution.

    DCNv1 (no modulation) with zeros outside the map. With ``offset_groups=channels`` each
    channel moves on its own.

    Children: ``conv`` (the weights), ``offset``.

    Args:
        channels (int): C, in and out.
        offset_mode (str): See :class:`OffsetPredictor`.
        offset_groups (int | None): G, a divisor of C. None: C, or 8 for ``'direct'``.

    Shape:
        - input and output: ``(B, C, h, w)``.

    Raises:
        ValueError: If ``offset_mode`` is unknown or G does not divide C.
    """

    def __init__(
        self, channels: int, offset_mode: str = 'content', offset_groups: int | None = None
    ) -> None:
        super().__init__()
        if offset_mode not in OFFSET_MODES:
            raise ValueError(
                f'DeformableMixer.offset_mode is {offset_mode!r}; choose one of '
                f'{", ".join(map(repr, OFFSET_MODES))}.'
            )
        groups = offset_groups or (8 if offset_mode == 'direct' else channels)
        if groups < 1 or channels % groups:
            raise ValueError(
                f'DeformableMixer: offset_groups={groups} does not divide channels={channels}; '
                'choose a divisor.'
            )
        self.conv = nn.Conv2d(channels, channels, 1)
        self.offset = OffsetPredictor(channels, groups, offset_mode)

    def forward(self, x: Tensor) -> Tensor:
        return deform_conv2d(x, self.offset(x), self.conv.weight, self.conv.bias)
