"""Weights drawn anew in every step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmdense.registry import BALANCERS
from mmdense.utils.steps import step_generator

from .base import BaseBalancer, Combination


@BALANCERS.register_module()
class RandomWeights(BaseBalancer):
    """Random loss weighting: softmax of standard normal numbers, so weights sum to 1.

    Lin et al., "Reasonable Effectiveness of Random Weighting" (TMLR 2022). In a run the numbers
    depend on ``seed`` and the iteration only: they are the same on all processes and in a resumed
    run. Outside a run they come from PyTorch's generator.

    Args:
        seed (int): Seed. Defaults to 0.
        kwargs: Of :class:`BaseBalancer`.
    """

    def __init__(self, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed

    def combine(self, losses: Tensor, present: Tensor) -> Combination:
        normal = torch.randn(len(losses), generator=step_generator(self.seed), dtype=losses.dtype)
        return Combination(torch.softmax(normal, dim=0).to(losses.device))
