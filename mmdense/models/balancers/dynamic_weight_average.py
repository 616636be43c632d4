"""Weights from the pace of each loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmdense.registry import BALANCERS

from .base import BaseBalancer, Combination
from .epoch_means import EpochMeans


@BALANCERS.register_module()
class DynamicWeightAverage(BaseBalancer):
    """Tasks whose loss falls slowest weigh most.

    Liu, Johns and Davison, "End-to-End Multi-Task Learning with Attention" (CVPR 2019):
    ``w = T softmax(r / temperature)`` with the ratio r of the mean losses of the last two epochs.
    The first two epochs weigh all tasks 1. A task without two means has a ratio of 1.

    Args:
        temperature (float): Softness, above 0. Defaults to 2.
        kwargs: Of :class:`BaseBalancer`.

    Raises:
        ValueError: If ``temperature`` is not positive.
    """

    needs = frozenset({'epoch_means'})
    weights: Tensor

    def __init__(self, temperature: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if temperature <= 0:
            raise ValueError(
                f'DynamicWeightAverage.temperature is {temperature}; it must be above 0.'
            )
        self.temperature = temperature
        count = len(self.tasks or ())
        self.epochs = EpochMeans(count, 2)
        self.register_buffer('weights', torch.ones(count, dtype=torch.float64))

    def combine(self, losses: Tensor, present: Tensor) -> Combination:
        return Combination(self.weights)

    def observe(self, losses: Tensor, present: Tensor, counts: Tensor) -> None:
        self.epochs.add(losses, present, counts)

    def step_epoch(self, reduce_fn: Callable[[Tensor], Tensor] | None = None) -> None:
        ratio = self.epochs.close(reduce_fn) / self.epochs.ago(1)
        # NaN before there are two epochs, for all tasks: equal weights of 1.
        ratio = torch.where(ratio.isnan(), 1.0, ratio)
        self.weights = len(ratio) * torch.softmax(ratio / self.temperature, dim=0)
