"""The core of the triplane regularizer: planes and MLPs to rendered task vectors."""

from __future__ import annotations

import argparse
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmdense.models.regularizers.functional import (
    composite,
    importance_depths,
    plane_names,
    render_factorised,
    render_naive,
)
from mmdense.models.regularizers.functional.naive import SLOPE
from mmdense.models.regularizers.functional.tables import Window, build_tables, line_rows

from .base import Core
from .cross_task_affinity import with_grid

#: Grids (H, W) of rays, each with twice the rays of the one before.
GRIDS = ((14, 18), (20, 25), (28, 36), (40, 50), (56, 72))
_NAMES = ('w1', 'b1', 'w2', 'b2', 'w3', 'b3')
_BAND = 8  # rows of rays that the checkpointed form makes at once
_WHOLE = 2.0**20  # MiB, more than any problem needs


class TriplaneCore(Core):
    """One straight ray per cell of a grid, through planes of the same grid.

    ``naive`` reads every sample and keeps it; ``naive_checkpointed`` makes 8 rows of rays at a
    time and makes them again in the backward pass; ``factorised_autograd`` is the factorised
    form as autograd differentiates it, which keeps every hidden vector; ``factorised_whole``
    makes them again, with all rays of all tasks in memory at once; ``factorised`` works in
    pieces that fit the cache. The naive forms of two passes evaluate the first one again in
    the second.
    """

    name = 'triplane'
    forms = (
        'naive', 'naive_checkpointed', 'factorised_autograd', 'factorised_whole', 'factorised',
    )  # fmt: skip
    measured = forms
    growing = ('naive', 'factorised')

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument('--grid', type=int, nargs=2, default=(56, 72), metavar=('H', 'W'))
        parser.add_argument('--batch', type=int, default=1, metavar='B')
        parser.add_argument('--coarse', type=int, default=128, metavar='S')
        parser.add_argument('--fine', type=int, default=0, metavar='S', help='of a second pass')
        parser.add_argument('--channels', type=int, default=64, metavar='C')
        parser.add_argument('--hidden', type=int, default=64, metavar='K')
        parser.add_argument(
            '--outputs', type=int, nargs='+', default=(40, 1, 3, 1), metavar='C_t',
            help='channels of each task (default: the four of NYUD-v2)',
        )  # fmt: skip

    def operands(self, options: argparse.Namespace) -> list[Tensor]:
        channels, hidden = options.channels, options.hidden
        found = [torch.rand(options.batch, 3, channels, *options.grid)]
        for count in options.outputs:
            shapes = ((hidden, channels), (hidden,), (count, hidden), (count,), (hidden,), ())
            found += [torch.randn(shape) / math.sqrt(shape[-1] if shape else 1) for shape in shapes]
        return found

    def run(self, form: str, operands: list[Tensor], options: argparse.Namespace) -> Tensor:
        planes, *weights = operands
        width = len(_NAMES)
        heads = {
            f'task{index}': dict(zip(_NAMES, weights[index * width :]))
            for index in range(len(options.outputs))
        }
        size, coarse = tuple(options.grid), options.coarse
        z = (torch.arange(coarse, device=planes.device) + 0.5) * (2 / coarse) - 1
        if form == 'naive':
            values = _naive(planes, heads, size, z, options.fine)
        elif form == 'naive_checkpointed':
            values = _checkpointed(planes, heads, size, z, options.fine)
        elif form == 'factorised_autograd':
            values = _autograd(planes, heads, size, z, options.fine)
        else:
            chunk = _WHOLE if form == 'factorised_whole' else None
            values = render_factorised(planes, heads, size, z, options.fine, chunk_mib=chunk)
        return torch.cat(list(values.values()), dim=-1)

    def describe(self, options: argparse.Namespace) -> str:
        height, width = options.grid
        return (
            f'batch {options.batch}, {height} x {width} rays, {options.coarse} + {options.fine} '
            f'depths, C = {options.channels}, K = {options.hidden}, tasks of '
            f'{" + ".join(map(str, options.outputs))} channels'
        )

    def series(self, options: argparse.Namespace) -> list[argparse.Namespace]:
        return [with_grid(options, grid) for grid in GRIDS]

    def size(self, options: argparse.Namespace) -> int:
        height, width = options.grid
        return int(height * width)


def _naive(
    planes: Tensor,
    heads: dict[str, Any],
    size: tuple[int, int],
    z: Tensor,
    fine: int,
    window: tuple[int, int, int, int] | None = None,
) -> dict[str, Tensor]:
    """Both passes by the definition, all tasks in the first and one at a time in the second."""
    if not fine:
        found: Any = render_naive(planes, heads, size, z, window=window)
        return dict(found)
    with torch.no_grad():
        first: Any = render_naive(planes, heads, size, z, details=True, window=window)
    middle = (torch.arange(fine, device=z.device) + 0.5) / fine
    values = {}
    for name, head in heads.items():
        facts = first[1][name]
        u = middle.expand(*facts.weights.shape[:-1], fine)
        drawn = importance_depths(facts.z, facts.weights, u)
        merged = torch.cat([facts.z, drawn], dim=-1).sort(dim=-1).values
        one: Any = render_naive(planes, {name: head}, size, merged, window=window)
        values[name] = one[name]
    return values


def _checkpointed(
    planes: Tensor, heads: dict[str, Any], size: tuple[int, int], z: Tensor, fine: int
) -> dict[str, Tensor]:
    """:func:`_naive` in bands of rows, nothing of which is kept for the backward pass."""
    height, width = size
    bands = [
        checkpoint(
            _naive, planes, heads, size, z, fine,
            (top, 0, min(_BAND, height - top), width), use_reentrant=False,
        )
        for top in range(0, height, _BAND)
    ]  # fmt: skip
    return {name: torch.cat([band[name] for band in bands], dim=1) for name in heads}


def _autograd(
    planes: Tensor, heads: dict[str, Any], size: tuple[int, int], z: Tensor, fine: int
) -> dict[str, Tensor]:
    """The factorised form in plain autograd: small tables, and every hidden vector kept."""
    w1, b1, w3, b3 = (torch.stack([h[k] for h in heads.values()]) for k in ('w1', 'b1', 'w3', 'b3'))
    padding, batch = 'border', len(planes)
    names = plane_names('xy_yz_xz')
    tables = build_tables(planes, names, w1, b1, Window.of(size, None), padding)
    shared = z.expand(batch, len(z))
    columns = tables.along('x', shared, padding, size[1])
    rows = tables.along('y', shared, padding, size[0])
    assert columns is not None and rows is not None
    # (B, tasks, H, W, S, K)
    before = tables.rays[..., None, :] + columns[:, :, None] + rows[:, :, :, None]
    hidden = F.leaky_relu(before, SLOPE)
    sigma = torch.einsum('bghwsk,gk->bghws', hidden, w3) + b3.view(-1, 1, 1, 1)
    vectors, depths = [hidden], z.expand_as(sigma)
    if fine:
        middle = (torch.arange(fine, device=z.device) + 0.5) / fine
        with torch.no_grad():
            weights = composite(sigma, depths).weights
            drawn = importance_depths(depths, weights, middle.expand(*weights.shape[:-1], fine))
        cells, shares = line_rows(tuple(tables.lines), drawn, 0, padding)
        joined = tables.joined()
        read = _read(joined.flatten(0, 1), cells.flatten(0, 1), shares.flatten(0, 1))
        own = F.leaky_relu(tables.rays[..., None, :] + read.view(*drawn.shape, -1), SLOPE)
        of_own = torch.einsum('bghwsk,gk->bghws', own, w3) + b3.view(-1, 1, 1, 1)
        vectors.append(own)
        depths, order = torch.cat([depths, drawn], dim=-1).sort(dim=-1)
        found = composite(torch.cat([sigma, of_own], dim=-1).gather(-1, order), depths)
        weight = torch.zeros_like(depths).scatter(-1, order, found.sample_weights)
    else:
        found = composite(sigma, depths)
        weight = found.sample_weights
    parts = weight.split([v.shape[-2] for v in vectors], dim=-1)
    total = sum((p[..., None, :] @ v)[..., 0, :] for p, v in zip(parts, vectors))
    assert isinstance(total, Tensor)
    return {
        name: (
            total[:, index] @ head['w2'].mT + found.opacity[:, index, ..., None] * head['b2']
        ).flatten(1, 2)
        for index, (name, head) in enumerate(heads.items())
    }


def _read(tables: Tensor, cells: Tensor, shares: Tensor) -> Tensor:
    """Rows ``(D, H, W, S, n)`` of ``(D, L, K)``, weighed and summed over n, one per sample."""
    starts = torch.arange(len(tables), device=tables.device) * tables.shape[1]
    index = (cells + starts.view(-1, 1, 1, 1, 1)).flatten(0, 3)
    return F.embedding_bag(
        index, tables.flatten(0, 1), mode='sum', per_sample_weights=shares.flatten(0, 3)
    )
