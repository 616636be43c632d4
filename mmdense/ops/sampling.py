"""Bilinear samples at displaced kernel cells, with zeros outside the map, in plain torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

Pair = tuple[int, int]

# Places sampled at a time: few enough to stay in the cache of a CPU core, or, elsewhere, to keep
# what is made of them small beside the maps of a network.
CPU_PIECE = 2**17
DEVICE_PIECE = 2**23


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


def position_dtype(x: Tensor, offset: Tensor) -> torch.dtype:
    """That of positions in pixels: half precision knows no pixel beyond 256, or 2048."""
    return torch.promote_types(torch.promote_types(x.dtype, offset.dtype), torch.float32)


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


def bilinear_sample(x: Tensor, offset: Tensor, window: Window) -> Tensor:
    """Sample every channel at the displaced cells of its offset group.

    A sample between pixels is the bilinear mean of its four neighbours, with zeros outside
    the map. Forward and backward follow the compiled deformable convolutions, also on whole
    pixels and on the border. Once differentiable.

    Args:
        x (Tensor): ``(B, C, H, W)``.
        offset (Tensor): ``(B, 2 * G * K, Ho, Wo)`` pixels, (dy, dx) per group and cell. G
            divides C.
        window (Window): Cells, stride, padding, dilation.

    Returns:
        Tensor: ``(B, C, K, Ho, Wo)``, of the dtype of ``x``.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or x.device.type == 'meta':
        return _sample_in_graph(x, offset, window)
    sampled: Tensor = _BilinearSample.apply(x, offset, window)
    return sampled


def _by_group(x: Tensor, offset: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """``(B*G, C/G, H, W)`` and ``(B*G, K, 2, Ho, Wo)``."""
    batch, moves, *out_size = sizes(offset)
    _, channels, *size = sizes(x)
    groups = moves // (2 * window.cells)
    maps = x.reshape(batch * groups, channels // groups, *size)
    return maps, offset.reshape(batch * groups, window.cells, 2, *out_size)


def _normalised(moves: Tensor, start: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """What the sampler takes for ``start + moves`` pixels, ``(n, K*Ho, Wo)``.

    At a whole pixel the slope of a bilinear sample has two values. The compiled operators
    take the one towards the larger coordinate, and none at -1 and before. The sampler computes
    ``((g + 1) * size - 1) / 2`` in the dtype of ``g``, which may fall short of a whole pixel
    by up to 1.4 * size * eps, so there 1.5 of them are added.
    """
    if torch.jit.is_tracing() or torch.onnx.is_in_onnx_export():  # no slopes there
        return ((moves + start) * (2 / size) + (1 / size - 1)).flatten(1, 2)
    # Added up in that dtype, as the compiled operators do, before it is refined.
    pixels = F.threshold(moves + start, -1.0, -2.0)
    lift = 3 * torch.finfo(dtype).eps
    if dtype == pixels.dtype:
        first = (pixels == pixels.floor()).to(dtype) * lift + (1 / size - 1)
    else:  # so little in a finer dtype that every pixel may have it
        first = torch.full((), 1 / size - 1 + lift, dtype=dtype, device=moves.device)
    return torch.add(first, pixels.to(dtype), alpha=2 / size).flatten(1, 2)


def _grid(
    moves: Tensor, starts: tuple[Tensor, Tensor], size: Sequence[int], dtype: torch.dtype
) -> Tensor:
    """``(n, K, 2, Ho, Wo)`` displacements as a ``(n, K*Ho, Wo, 2)`` grid of x and y.

    The two planes stay apart in memory: the sampler reads whole vectors from each.
    """
    rows, columns = starts
    x = _normalised(moves[:, :, 1], columns, size[1], dtype)
    y = _normalised(moves[:, :, 0], rows, size[0], dtype)
    return torch.stack((x, y), 1).permute(0, 2, 3, 1)


def _sample(maps: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(maps, grid, 'bilinear', 'zeros', align_corners=False)


def _sample_in_graph(x: Tensor, offset: Tensor, window: Window) -> Tensor:
    """All at once, and in float32 unless map or offsets are finer, as accelerators like it.

    Positions are rounded to about ``size * 3e-7`` pixels then.
    """
    dtype = position_dtype(x, offset)
    maps, moves = _by_group(x.to(dtype), offset.to(dtype), window)
    batch, channels, *size = sizes(x)
    starts = cell_positions(window, sizes(offset)[2:], moves)
    samples = _sample(maps, _grid(moves, starts, size, dtype))
    return samples.reshape(batch, channels, window.cells, *sizes(offset)[2:]).to(x.dtype)


@dataclass(frozen=True)
class _Pieces:
    """A few maps at a time, sampled in float64 while they are in the cache.

    The CPU needs less time so than for all at once in float32, positions are as exact as the
    offsets are, and nothing of the size of the whole is made beside the result.
    """

    maps: Tensor
    moves: Tensor
    window: Window

    @property
    def dtype(self) -> torch.dtype:
        """Of positions and means."""
        return torch.float32 if self.maps.device.type == 'mps' else torch.float64

    def __iter__(self) -> Iterator[tuple[slice, Tensor, list[slice]]]:
        """Slice of the maps, their grid, and slices of their channels."""
        count, channels, height, width = self.maps.shape
        fine = position_dtype(self.maps, self.moves)
        starts = cell_positions(self.window, self.moves.shape[3:], self.moves[:0].to(fine))
        places = self.moves.shape[1] * self.moves.shape[3:].numel()
        budget = CPU_PIECE if self.maps.device.type == 'cpu' else DEVICE_PIECE
        many = max(1, budget // max(places, height * width, 1))
        for maps in _slices(count, many):
            grid = _grid(self.moves[maps].to(fine), starts, (height, width), self.dtype)
            yield maps, grid, _slices(channels, max(1, many // (maps.stop - maps.start)))


def _slices(count: int, many: int) -> list[slice]:
    return [slice(start, min(start + many, count)) for start in range(0, count, many)]


class _BilinearSample(torch.autograd.Function):
    """Keeps the map and the offsets for the backward pass, and nothing made of them."""

    @staticmethod
    def forward(x: Tensor, offset: Tensor, window: Window) -> Tensor:
        pieces = _Pieces(*_by_group(x, offset, window), window)
        places = (window.cells * offset.shape[2], offset.shape[3])
        out = x.new_empty(*pieces.maps.shape[:2], *places)
        for maps, grid, channels in pieces:
            for some in channels:
                piece = pieces.maps[maps, some].to(pieces.dtype)
                out[maps, some] = _sample(piece, grid).to(x.dtype)
        return out.reshape(*x.shape[:2], window.cells, *offset.shape[2:])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Window], output: Tensor) -> None:
        x, offset, ctx.window = inputs
        ctx.save_for_backward(x, offset)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, offset = ctx.saved_tensors
        pieces = _Pieces(*_by_group(x, offset, ctx.window), ctx.window)
        size = pieces.maps.shape[2:]
        grad = grad.reshape(*pieces.maps.shape[:2], -1, offset.shape[3])
        wanted = list(ctx.needs_input_grad[:2])
        grad_maps = torch.empty_like(pieces.maps) if wanted[0] else None
        grad_moves = torch.empty_like(pieces.moves) if wanted[1] else None
        for maps, grid, channels in pieces:
            slope: Tensor | None = None
            for some in channels:
                piece = pieces.maps[maps, some].to(pieces.dtype)
                of_maps, of_grid = torch.ops.aten.grid_sampler_2d_backward(
                    grad[maps, some].to(pieces.dtype), piece, grid, 0, 0, False, wanted
                )
                if grad_maps is not None:
                    grad_maps[maps, some] = of_maps.to(x.dtype)
                if grad_moves is not None:
                    slope = of_grid if slope is None else slope.add_(of_grid)
            if grad_moves is not None and slope is not None:
                moves = grad_moves[maps]
                for axis in range(2):
                    plane = slope[..., 1 - axis].reshape(moves[:, :, axis].shape)
                    moves[:, :, axis] = plane * (2 / size[axis])
        grad_x = None if grad_maps is None else grad_maps.reshape(x.shape)
        grad_offset = None if grad_moves is None else grad_moves.reshape(offset.shape)
        return grad_x, grad_offset, None
