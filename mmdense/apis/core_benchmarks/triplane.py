"""The core of the triplane regularizer: planes and MLPs to rendered task vectors."""

from __future__ import annotations

import argparse
import math
from typing import Any

import torch
from torch import Tensor

from mmdense.models.regularizers.functional import (
    importance_depths,
    render_factorised,
    render_naive,
)

from .base import Core
from .cross_task_affinity import with_grid

#: Grids (H, W) of rays, each with twice the rays of the one before.
GRIDS = ((14, 18), (20, 25), (28, 36), (40, 50), (56, 72))
_NAMES = ('w1', 'b1', 'w2', 'b2', 'w3', 'b3')
_WHOLE = 2.0**20  # MiB, more than any problem needs


class TriplaneCore(Core):
    """One straight ray per cell of a grid, through planes of the same grid.

    ``naive`` reads every sample and keeps it; ``factorised_whole`` is the factorised form
    with all rays of all tasks in memory at once; ``factorised`` works in pieces that fit the
    cache. The naive form of two passes evaluates the first one again in the second.
    """

    name = 'triplane'
    forms = ('naive', 'factorised_whole', 'factorised')
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
    planes: Tensor, heads: dict[str, Any], size: tuple[int, int], z: Tensor, fine: int
) -> dict[str, Tensor]:
    """Both passes by the definition, all tasks in the first and one at a time in the second."""
    if not fine:
        found: Any = render_naive(planes, heads, size, z)
        return dict(found)
    with torch.no_grad():
        first: Any = render_naive(planes, heads, size, z, details=True)
    middle = (torch.arange(fine, device=z.device) + 0.5) / fine
    values = {}
    for name, head in heads.items():
        facts = first[1][name]
        u = middle.expand(*facts.weights.shape[:-1], fine)
        drawn = importance_depths(facts.z, facts.weights, u)
        merged = torch.cat([facts.z, drawn], dim=-1).sort(dim=-1).values
        one: Any = render_naive(planes, {name: head}, size, merged)
        values[name] = one[name]
    return values
