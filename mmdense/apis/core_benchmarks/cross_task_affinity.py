"""The core of CTAL: joint affinity of the tasks applied to their values."""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdense.models.necks.functional import (
    cross_task_affinity_explicit,
    cross_task_affinity_factorised,
)

from .base import Core

#: Token grids (H, W) of 1728 to 27648 tokens, each twice the one before.
GRIDS = ((36, 48), (48, 72), (72, 96), (96, 144), (144, 192))


def add_token_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that all cores on maps of tokens per task have."""
    parser.add_argument('--grid', type=int, nargs=2, default=(72, 96), metavar=('H', 'W'))
    parser.add_argument('--batch', type=int, default=1, metavar='B')
    parser.add_argument('--tasks', type=int, default=3, metavar='T')
    parser.add_argument('--channels', type=int, default=128, metavar='C')


def with_grid(options: argparse.Namespace, grid: tuple[int, int]) -> argparse.Namespace:
    """The same problem on another grid."""
    return argparse.Namespace(**{**vars(options), 'grid': grid})


class CrossTaskAffinityCore(Core):
    """From unit tokens, values, joint kernel and bias to what each token gathers."""

    name = 'cross_task_affinity'
    forms = ('explicit', 'row_blocks', 'factorised')
    measured = ('explicit', 'factorised')
    growing = ('factorised',)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_token_arguments(parser)
        parser.add_argument('--filter-size', type=int, default=3, metavar='F')
        parser.add_argument('--joint-affinity', choices=('per_task', 'shared'), default='shared')
        parser.add_argument('--block-rows', type=int, default=512, help='of the form row_blocks')

    def operands(self, options: argparse.Namespace) -> list[Tensor]:
        shape = (options.batch, options.tasks, options.channels, *options.grid)
        joints = options.tasks if options.joint_affinity == 'per_task' else 1
        window = options.filter_size
        kernel = torch.randn(joints, self.size(options), options.tasks, window, window)
        return [
            F.normalize(torch.randn(shape), dim=2),
            torch.randn(shape),
            kernel,
            torch.randn(kernel.shape[:2]),
        ]

    def run(self, form: str, operands: list[Tensor], options: argparse.Namespace) -> Tensor:
        tokens, values, kernel, bias = operands
        if form == 'factorised':
            return cross_task_affinity_factorised(tokens, values, kernel, bias)
        rows = options.block_rows if form == 'row_blocks' else None
        return cross_task_affinity_explicit(tokens, values, kernel, bias, rows)

    def describe(self, options: argparse.Namespace) -> str:
        height, width = options.grid
        return (
            f'batch {options.batch}, T = {options.tasks}, C = {options.channels}, N = '
            f'{height} x {width} = {height * width}, filter {options.filter_size}, '
            f'joint affinity {options.joint_affinity}'
        )

    def series(self, options: argparse.Namespace) -> list[argparse.Namespace]:
        return [with_grid(options, grid) for grid in GRIDS]

    def size(self, options: argparse.Namespace) -> int:
        height, width = options.grid
        return int(height * width)
