"""What straight rays need of the planes, as small tables of hidden pre-activations.

Reading a plane is linear, so the first layer of the MLPs goes before it (once per cell
instead of once per sample), and separable, so along a straight ray a plane is one vector
(xy) or one line of cells (the others). Everything here is plain autograd: the tables are
small.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mmdense.utils import ShapeError

from .geometry import (
    PLANE_AXES,
    interpolation_corners,
    interpolation_matrix,
    pixel_centers,
)


@dataclass(frozen=True)
class Line:
    """Cells along z, one run for each row or column of the grid.

    Attributes:
        axis (str): ``'x'``: a run per column; ``'y'``: per row; ``''``: one for all.
        runs (int): Number of runs.
        cells (int): Cells of a run.
        offset (int): Where the first run begins in the joint table.
        linear (bool): Whether the two cells are the values at z = -1 and z = 1 of a linear
            function, rather than means of equal parts of [-1, 1].
    """

    axis: str
    runs: int
    cells: int
    offset: int
    linear: bool = False

    def corners(self, z: Tensor, padding: str) -> tuple[Tensor, Tensor]:
        """Cells of a run and their weights, ``(..., 2)`` each."""
        if not self.linear:
            return interpolation_corners(z, self.cells, padding)
        upper = (z + 1) / 2
        cells = torch.arange(2, device=z.device).expand(*z.shape, 2)
        return cells, torch.stack([1 - upper, upper], dim=-1)

    def matrix(self, z: Tensor, padding: str) -> Tensor:
        """Weights ``(..., S, cells)`` of the cells at each depth ``(..., S)``."""
        if not self.linear:
            return interpolation_matrix(z, self.cells, padding)
        return self.corners(z, padding)[1]


@dataclass(frozen=True)
class RayTables:
    """Tables of G MLPs, first layers ``(K,)`` each.

    Attributes:
        rays (Tensor): Part that does not depend on depth, bias included, ``(B, G, H, W, K)``.
        lines (dict): Line to its runs, ``(B, G, runs, cells, K)``.
    """

    rays: Tensor
    lines: dict[Line, Tensor]

    def along(self, axis: str, z: Tensor, padding: str, runs: int) -> Tensor | None:
        """Sum of the lines of an axis at depths ``(B, S)``, ``(B, G, runs, S, K)``, or None."""
        total = None
        for line, table in self.lines.items():
            if (line.axis or 'x') != axis:
                continue
            read = line.matrix(z, padding)[:, None, None] @ table
            read = read.expand(*read.shape[:2], runs, *read.shape[3:])
            total = read if total is None else total + read
        return total

    def joined(self) -> Tensor:
        """All runs one after the other, ``(B, G, cells of all runs, K)``."""
        return torch.cat([table.flatten(2, 3) for table in self.lines.values()], dim=2)


@dataclass(frozen=True)
class Window:
    """A part of the grid of rays.

    Attributes:
        size (tuple[int, int]): Height and width of the whole grid.
        rows (slice): Rows of the part.
        columns (slice): Columns of the part.
    """

    size: tuple[int, int]
    rows: slice
    columns: slice

    @classmethod
    def of(cls, size: tuple[int, int], part: tuple[int, int, int, int] | None) -> Window:
        """From ``(top, left, height, width)``, or the whole grid."""
        top, left, height, width = (0, 0, *size) if part is None else part
        if not (0 <= top < top + height <= size[0] and 0 <= left < left + width <= size[1]):
            raise ShapeError(f'window {part} (top, left, height, width) leaves the grid {size}.')
        return cls(size, slice(top, top + height), slice(left, left + width))

    def along(self, axis: str) -> tuple[int, slice] | None:
        """Cells of the grid along x or y and those of the part; None for z."""
        return dict(x=(self.size[1], self.columns), y=(self.size[0], self.rows)).get(axis)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the part."""
        rows, columns = self.rows, self.columns
        return rows.stop - rows.start, columns.stop - columns.start


def resampled(maps: Tensor, count: int, part: slice, dim: int, padding: str) -> Tensor:
    """Read an axis of ``maps`` at the centres of ``part`` of ``count`` equal cells of [-1, 1]."""
    n = maps.shape[dim]
    if n == count:  # the centres are those of the cells
        return maps.narrow(dim, part.start, part.stop - part.start)
    centres = pixel_centers(count, maps.dtype, maps.device)[part]
    matrix = interpolation_matrix(centres, n, padding)
    return torch.tensordot(maps, matrix, dims=([dim], [1])).movedim(-1, dim)


def build_tables(
    planes: Tensor,
    names: tuple[str, ...],
    weight: Tensor,
    bias: Tensor,
    window: Window,
    padding: str,
    depth_weight: Tensor | None = None,
) -> RayTables:
    """Tables of the planes for a grid of straight rays.

    Args:
        planes (Tensor): ``(B, P, C, Hp, Wp)``.
        names (tuple[str, ...]): Of the planes.
        weight (Tensor): First layers, ``(G, K, C)``, the division of a mean included.
        bias (Tensor): ``(G, K)``.
        window (Window): The rays.
        padding (str): ``'border'`` or ``'zeros'``.
        depth_weight (Tensor | None): Weights ``(G, K)`` of the depth itself.
    """
    rays = bias[:, None, None]
    lines: dict[Line, Tensor] = {}
    offset = 0
    for index, name in enumerate(names):
        # (B, columns of the plane, rows of the plane, C), named by what they follow.
        column, row = PLANE_AXES[name]
        plane = planes[:, index].permute(0, 3, 2, 1)
        if name == 'xy':
            read = _project(plane, weight, (window.along('x'), window.along('y')), padding)
            rays = rays + read.transpose(2, 3)
            continue
        wanted = (window.along(column), window.along(row))
        table = _project(plane, weight, wanted, padding)
        if column == 'z':  # runs first, cells along z second
            table = table.transpose(2, 3)
        axis = row if column == 'z' else column
        lines[Line(axis, table.shape[2], table.shape[3], offset)] = table
        offset += table.shape[2] * table.shape[3]
    if depth_weight is not None:
        ends = torch.stack([-depth_weight, depth_weight], dim=1)[None, :, None]
        lines[Line('', 1, 2, offset, linear=True)] = ends.expand(planes.shape[0], *ends.shape[1:])
    rays = rays.expand(planes.shape[0], weight.shape[0], *window.shape, weight.shape[1])
    return RayTables(rays, lines)


def _project(
    plane: Tensor,
    weight: Tensor,
    wanted: tuple[tuple[int, slice] | None, tuple[int, slice] | None],
    padding: str,
) -> Tensor:
    """Resample ``(B, n, m, C)`` and apply ``(G, K, C)``: ``(B, G, n', m', K)``.

    Both are linear, so the projection goes where there are fewer vectors.
    """
    groups, width, channels = weight.shape
    counts = [
        have if ask is None else ask[1].stop - ask[1].start
        for ask, have in zip(wanted, plane.shape[1:3])
    ]

    def read(maps: Tensor) -> Tensor:
        for dim, ask in enumerate(wanted, start=1):
            if ask is not None:
                maps = resampled(maps, *ask, dim, padding)
        return maps

    flat = weight.reshape(groups * width, channels).mT
    if counts[0] * counts[1] < plane.shape[1] * plane.shape[2]:
        projected = read(plane) @ flat
    else:
        projected = read(plane @ flat)
    return projected.unflatten(-1, (groups, width)).permute(0, 3, 1, 2, 4)


def line_rows(
    lines: tuple[Line, ...], z: Tensor, first_row: int, padding: str
) -> tuple[Tensor, Tensor]:
    """Rows of the joint table that each sample reads, and their weights.

    Args:
        lines (tuple[Line, ...]): Of the table.
        z (Tensor): Depths ``(..., h, W, S)`` of h rows of the grid.
        first_row (int): Row of the grid that the first of them is.
        padding (str): ``'border'`` or ``'zeros'``.

    Returns:
        tuple[Tensor, Tensor]: ``(..., h, W, S, 2 * lines)`` each, int64 and float.
    """
    # Nothing to begin with: planes without depth have no lines.
    weights = [z.new_empty(*z.shape, 0)]
    rows = [weights[0].long()]
    for line in lines:
        cells, shares = line.corners(z, padding)
        count = z.shape[-3] if line.axis == 'y' else z.shape[-2]
        begin = first_row if line.axis == 'y' else 0
        run = torch.arange(begin, begin + count, device=z.device) if line.axis else 0
        starts = torch.as_tensor(run, device=z.device) * line.cells + line.offset
        starts = starts[:, None, None, None] if line.axis == 'y' else starts[..., None, None]
        rows.append(cells + starts)
        weights.append(shares)
    return torch.cat(rows, dim=-1), torch.cat(weights, dim=-1)
