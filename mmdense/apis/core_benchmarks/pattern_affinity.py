"""The core of PAP-Net: diffusion along the affinities of all tasks."""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from mmdense.models.necks.functional import pattern_diffusion

from .base import Core
from .cross_task_affinity import GRIDS, add_token_arguments, with_grid


class PatternAffinityCore(Core):
    """From features and shares of the tasks to diffused features."""

    name = 'pattern_affinity'
    forms = ('explicit', 'row_blocks', 'linear')
    measured = ('explicit', 'linear')
    growing = ('linear',)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_token_arguments(parser)
        parser.add_argument('--num-iters', type=int, default=1)
        parser.add_argument('--block-rows', type=int, default=512, help='of the form row_blocks')

    def operands(self, options: argparse.Namespace) -> list[Tensor]:
        features = torch.randn(options.batch, options.tasks, options.channels, self.size(options))
        return [features, torch.randn(options.tasks, options.tasks).softmax(1)]

    def run(self, form: str, operands: list[Tensor], options: argparse.Namespace) -> Tensor:
        features, mixing = operands
        return pattern_diffusion(
            features,
            mixing,
            num_iters=options.num_iters,
            impl='linear' if form == 'linear' else 'explicit',
            block_rows=options.block_rows if form == 'row_blocks' else None,
        )

    def describe(self, options: argparse.Namespace) -> str:
        height, width = options.grid
        return (
            f'batch {options.batch}, T = {options.tasks}, C = {options.channels}, N = '
            f'{height} x {width} = {height * width}, {options.num_iters} steps'
        )

    def series(self, options: argparse.Namespace) -> list[argparse.Namespace]:
        return [with_grid(options, grid) for grid in GRIDS]

    def size(self, options: argparse.Namespace) -> int:
        height, width = options.grid
        return int(height * width)
