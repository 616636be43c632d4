"""Bilinear samples at displaced kernel cells, with zeros outside the map, in plain torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

Pair = tuple[int, int]


class Window(NamedTuple):
    """Where a convolution looks before its cells are displaced; pairs are (rows, columns).

    Args:
        kernel (Pair): Cells of the kernel.
        stride (Pair): Pixels between outputs.
        padding (Pair): Pixels of border on every side.
        dilation (Pair): Pixels between cells.
    """

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair

    @property
    def cells(self) -> int:
        """K: cells of the kernel, row by row."""
        return self.kernel[0] * self.kernel[1]

    def out_size(self, height: int, width: int) -> Pair:
        """Rows and columns of the output for a map of that size."""
        rows, columns = (
            (size + 2 * self.padding[i] - self.dilation[i] * (self.kernel[i] - 1) - 1)
            // self.stride[i]
            + 1
            for i, size in enumerate((height, width))
        )
        return rows, columns


def sizes(tensor: Tensor) -> Sequence[int]:
    """The shape as numbers; TorchScript tracing, which would give tensors, gets it fixed."""
    return [int(n) for n in tensor.shape] if torch.jit.is_tracing() else tensor.shape


def cell_positions(window: Window, out_size: Sequence[int], like: Tensor) -> tuple[Tensor, Tensor]:
    """Row ``(K, Ho, 1)`` and column ``(K, 1, Wo)`` in pixels of every cell before displacement."""
    lines = []
    for i in range(2):
        cell = torch.arange(window.kernel[i], dtype=like.dtype, device=like.device)
        place = torch.arange(out_size[i], dtype=like.dtype, device=like.device)
        start = cell * window.dilation[i] - window.padding[i]
        lines.append(start[:, None] + place * window.stride[i])
    kh, kw = window.kernel
    rows = lines[0][:, None].expand(kh, kw, -1).reshape(kh * kw, -1, 1)
    columns = lines[1].expand(kh, kw, -1).reshape(kh * kw, 1, -1)
    return rows, columns


def _by_group(x: Tensor, offset: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """``(B*G, C/G, H, W)`` and ``(B*G, K, 2, Ho, Wo)``."""
    batch, moves, *out_size = sizes(offset)
    _, channels, *size = sizes(x)
    groups = moves // (2 * window.cells)
    maps = x.reshape(batch * groups, channels // groups, *size)
    return maps, offset.reshape(batch * groups, window.cells, 2, *out_size)


def _as_grid(x: Tensor, y: Tensor) -> Tensor:
    """Normalised ``(n, K, Ho, Wo)`` coordinates as a ``(n, K*Ho, Wo, 2)`` grid.

    The two planes stay apart in memory: the sampler reads whole vectors from each, and
    pairing them up would be one more pass over the largest tensor here.
    """
    return torch.stack((x.flatten(1, 2), y.flatten(1, 2)), 1).permute(0, 2, 3, 1)


def _forward(x: Tensor, offset: Tensor, window: Window) -> Tensor:
    maps, moves = _by_group(x, offset, window)
    batch, channels, height, width = sizes(x)
    out_size = sizes(offset)[2:]
    rows, columns = cell_positions(window, out_size, offset)
    # Pixel p of n lies at (2p + 1) / n - 1.
    grid = _as_grid(
        torch.add((2 * columns + 1) / width - 1, moves[:, :, 1], alpha=2 / width),
        torch.add((2 * rows + 1) / height - 1, moves[:, :, 0], alpha=2 / height),
    )
    out = F.grid_sample(maps, grid, mode='bilinear', padding_mode='zeros', align_corners=False)
    return out.reshape(batch, channels, window.cells, *out_size)


def _normalised(moves: Tensor, start: Tensor, size: int) -> Tensor:
    """Coordinates whose gradient is that of the compiled operators, also at whole pixels.

    There the slope of a bilinear sample has two values. The compiled operators take the one
    towards the larger coordinate, and none at -1 and before. The sampler computes
    ``((g + 1) * size - 1) / 2`` in the dtype of ``g``, which may fall short of a whole pixel
    by up to 1.4 * size * eps, so those get 1.5 of them on top.
    """
    pixels = F.threshold(moves + start, -1.0, -2.0)
    whole = pixels.frac() == 0
    pixels.mul_(2 / size).add_(1 / size - 1)
    return pixels.add_(whole, alpha=3 * torch.finfo(moves.dtype).eps)


class _BilinearSample(torch.autograd.Function):
    """Keeps the map and the offsets for the backward pass, not the grid made of them."""

    @staticmethod
    def forward(x: Tensor, offset: Tensor, window: Window) -> Tensor:
        return _forward(x, offset, window)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Window], output: Tensor) -> None:
        x, offset, ctx.window = inputs
        ctx.save_for_backward(x, offset)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, offset = ctx.saved_tensors
        maps, moves = _by_group(x, offset, ctx.window)
        rows, columns = cell_positions(ctx.window, offset.shape[2:], offset)
        height, width = x.shape[2], x.shape[3]
        grid = _as_grid(
            _normalised(moves[:, :, 1], columns, width),
            _normalised(moves[:, :, 0], rows, height),
        )
        grad = grad.reshape(*maps.shape[:2], *grid.shape[1:3])
        grad_maps, grad_grid = torch.ops.aten.grid_sampler_2d_backward(
            grad, maps, grid, 0, 0, False, list(ctx.needs_input_grad[:2])
        )
        grad_x = grad_offset = None
        if ctx.needs_input_grad[0]:
            grad_x = grad_maps.reshape(x.shape)
        if ctx.needs_input_grad[1]:
            planes = (grad_grid[..., 1] * (2 / height), grad_grid[..., 0] * (2 / width))
            shape = (*moves.shape[:2], *moves.shape[3:])
            grad_offset = torch.stack([plane.reshape(shape) for plane in planes], 2)
            grad_offset = grad_offset.reshape(offset.shape)
        return grad_x, grad_offset, None


def bilinear_sample(x: Tensor, offset: Tensor, window: Window) -> Tensor:
    """Sample every channel at the displaced cells of its offset group.

    A sample between pixels is the bilinear mean of its four neighbours, with zeros outside
    the map. Forward and backward follow the compiled deformable convolutions, also on whole
    pixels and on the border. In float32 a position is rounded to about
    ``size * 1.6e-7`` pixels. Once differentiable.

    Args:
        x (Tensor): ``(B, C, H, W)``, float32 or float64.
        offset (Tensor): ``(B, 2 * G * K, Ho, Wo)`` pixels, (dy, dx) per group and cell, of
            the dtype of ``x``. G divides C.
        window (Window): Cells, stride, padding, dilation.

    Returns:
        Tensor: ``(B, C, K, Ho, Wo)``.
    """
    if torch.jit.is_tracing() or not torch.is_grad_enabled():
        return _forward(x, offset, window)
    return _BilinearSample.apply(x, offset, window)
