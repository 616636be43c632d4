"""Constant task weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mmdense.registry import BALANCERS

from .base import BaseBalancer


@BALANCERS.register_module()
class FixedWeights(BaseBalancer):
    """A constant weight per task.

    Args:
        weights (Mapping[str, float] | None): Task key to weight. Tasks that are not
            named weigh 1.

    Raises:
        ValueError: If a weight is negative.
    """

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.task_weights = dict(weights or {})
        negative = {key: value for key, value in self.task_weights.items() if value < 0}
        if negative:
            raise ValueError(
                f'balancer.weights holds negative weights {negative}; a weight of 0 '
                'switches a task off, larger values count more.'
            )

    def weights(
        self, losses: Mapping[str, Tensor], labelled: Mapping[str, Tensor]
    ) -> dict[str, Tensor | float]:
        return {key: self.task_weights.get(key, 1.0) for key in losses}
