"""Constant task weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmdense.registry import BALANCERS

from .base import BaseBalancer, Combination


@BALANCERS.register_module()
class FixedWeights(BaseBalancer):
    """A constant weight per task.

    Args:
        weights (Mapping[str, float] | None): Task key to weight. Tasks that are not
            named weigh 1.
        kwargs: Of :class:`BaseBalancer`.

    Raises:
        ValueError: If a weight is negative.
    """

    constant = True

    def __init__(self, weights: Mapping[str, float] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.task_weights = dict(weights or {})
        negative = {key: value for key, value in self.task_weights.items() if value < 0}
        if negative:
            raise ValueError(
                f'balancer.weights holds negative weights {negative}; a weight of 0 '
                'switches a task off, larger values count more.'
            )

        self._made: Tensor | None = None

    def combine(self, losses: Tensor, present: Tensor) -> Combination:
        if self._made is None or self._made.device != losses.device:
            # Once per device: a copy from the host in every step would delay it.
            values = [self.task_weights.get(key, 1.0) for key in self.keys]
            self._made = torch.tensor(values, dtype=losses.dtype, device=losses.device)
        return Combination(self._made)
