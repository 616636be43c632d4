"""A smooth maximum of the losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmdense.registry import BALANCERS

from .base import BaseBalancer, Combination
from .epoch_means import TINY, EpochMeans


@BALANCERS.register_module()
class SmoothTchebycheff(BaseBalancer):
    """STCH: mostly the loss that is worst against its own level after a warm-up.

    Lin et al., "Smooth Tchebycheff Scalarization for Multi-Objective Optimization" (ICML 2024),
    in the form for networks: ``T mu log sum_t exp(log(L_t / nadir_t) / mu)``. During the warm-up
    the objective is ``sum_t log L_t``; the nadir is the mean loss over its last epoch. A task
    without labels in that epoch takes the loss of its first epoch with labels. Losses must be
    positive.

    Args:
        mu (float): Smoothness, above 0; smaller is closer to the maximum. Defaults to 1.
        warmup_epochs (int): Epochs of warm-up, at least 1. Defaults to 5, as in LibMTL.
        eps (float): Smallest loss. Defaults to 1e-20.
        kwargs: Of :class:`BaseBalancer`.

    Raises:
        ValueError: If an argument is out of range.
    """

    needs = frozenset({'epoch_means'})
    nadir: Tensor

    def __init__(
        self, mu: float = 1.0, warmup_epochs: int = 5, eps: float = 1e-20, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if mu <= 0 or warmup_epochs < 1:
            raise ValueError(
                f'SmoothTchebycheff: mu={mu}, warmup_epochs={warmup_epochs}; mu must be above 0, '
                'warmup_epochs at least 1 (its last epoch measures the nadir).'
            )
        self.mu, self.warmup_epochs, self.eps = mu, warmup_epochs, eps
        count = len(self.tasks or ())
        self.epochs = EpochMeans(count, 1)
        self.register_buffer('nadir', torch.full((count,), float('nan'), dtype=torch.float64))

    def combine(self, losses: Tensor, present: Tensor) -> Combination:
        floored = losses.clamp(min=self.eps)
        logs = floored.log()
        warm = torch.where(present, logs, 0.0).sum()
        known = present & self.nadir.isfinite()
        scaled = torch.where(known, (logs - self.nadir.log()) / self.mu, -torch.inf)
        count = known.sum()
        smooth = count * self.mu * torch.logsumexp(scaled, dim=0)
        # Before the nadir is measured no task is known, and the sum of an empty set is -inf.
        over = known.any()
        weights = torch.where(over, count * torch.softmax(scaled, dim=0), 1.0) / floored
        trained = torch.where(over, known, present) & (losses > self.eps)
        return Combination(torch.where(trained, weights, 0.0), torch.where(over, smooth, warm))

    def observe(self, losses: Tensor, present: Tensor, counts: Tensor) -> None:
        self.epochs.add(losses, present, counts)

    def step_epoch(self, reduce_fn: Callable[[Tensor], Tensor] | None = None) -> None:
        means = self.epochs.close(reduce_fn)
        measured = self.nadir.isnan() & (means > TINY)
        over = self.epochs.closed >= self.warmup_epochs
        self.nadir = torch.where(over & measured, means, self.nadir)
