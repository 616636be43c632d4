"""Weights from learned task uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmdense.registry import BALANCERS
from mmdense.utils import suggest

from .base import BaseBalancer, Combination


@BALANCERS.register_module()
class UncertaintyWeights(BaseBalancer):
    """Homoscedastic uncertainty as a learned weight.

    Kendall, Gal and Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene
    Geometry and Semantics" (CVPR 2018): ``sum_t 0.5 exp(-s_t) L_t + 0.5 s_t`` with a learned
    log variance ``s_t``. A task that no picture of a step has leaves its log variance alone.

    Args:
        init_log_variance (float): Start of every ``s_t``. Defaults to 0; LibMTL takes -0.5.
        classification (Sequence[str]): Tasks whose loss is a likelihood of classes; the first 0.5
            falls away for them, as in the paper. Defaults to none, as in most codes.
        kwargs: Of :class:`BaseBalancer`.

    Raises:
        ValueError: If ``classification`` names an unknown task.
    """

    needs = frozenset({'parameters'})

    def __init__(
        self, init_log_variance: float = 0.0, classification: Sequence[str] = (), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        tasks = self.tasks or ()
        for key in classification:
            if key not in tasks:
                raise ValueError(
                    f"UncertaintyWeights.classification names '{key}'. {suggest(key, tasks)}"
                )
        halves = [1.0 if key in classification else 0.5 for key in tasks]
        self.register_buffer('scale', torch.tensor(halves, dtype=torch.float64), persistent=False)
        self.log_variance = nn.Parameter(torch.full((len(tasks),), float(init_log_variance)))

    def combine(self, losses: Tensor, present: Tensor) -> Combination:
        log_variance = self.log_variance.double()
        weights = self.scale * torch.exp(-log_variance)
        terms = weights * losses + 0.5 * log_variance
        return Combination(weights, torch.where(present, terms, 0.0).sum())
