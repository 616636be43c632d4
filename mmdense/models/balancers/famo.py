"""Fast adaptive multitask optimization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmdense.registry import BALANCERS

from .adam import masked_adam
from .base import BaseBalancer, Combination, one_of

_EPS = 1e-8


@BALANCERS.register_module()
class FAMO(BaseBalancer):
    """FAMO: all losses fall at the same rate, without gradients per task.

    Liu et al., "FAMO: Fast Adaptive Multitask Optimization" (NeurIPS 2023):
    ``c sum_t z_t log(L_t - b_t)`` with ``z = softmax(v)`` and ``c = 1 / sum_t z_t / (L_t - b_t)``,
    so the weights of the losses sum to 1. After each update of the model, ``v`` takes a step of
    Adam on how much each log loss fell. Tasks without labels are left out of z and keep their
    ``v``.

    Args:
        lr (float): Rate of ``v``. Defaults to 0.025.
        weight_decay (float): Decay of ``v``. Defaults to 1e-3 (Algorithm 2 of the paper; the
            released code takes 1e-5).
        min_losses (Mapping[str, float] | None): Task key to the lower bound ``b_t`` of its loss;
            0 for tasks that are not named.
        measure (str): ``'same_batch'``: the losses after an update are those of the batch it was
            made on, for one more forward pass per step (the paper; random parts draw the same
            numbers again, running statistics stay); ``'next_batch'``: those of the next batch, at
            no cost, with the noise of batches in them.
        kwargs: Of :class:`BaseBalancer`.

    Raises:
        ValueError: If an argument is out of range.
    """

    needs = frozenset({'losses_after_step'})
    logits: Tensor
    moments: Tensor
    steps: Tensor
    before: Tensor

    def __init__(
        self,
        lr: float = 0.025,
        weight_decay: float = 1e-3,
        min_losses: Mapping[str, float] | None = None,
        measure: str = 'same_batch',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if lr <= 0 or weight_decay < 0:
            raise ValueError(
                f'FAMO: lr={lr}, weight_decay={weight_decay}; lr must be above 0, weight_decay at '
                'least 0.'
            )
        self.lr, self.weight_decay = lr, weight_decay
        self.measure = one_of('FAMO.measure', measure, ('same_batch', 'next_batch'))
        tasks = self.tasks or ()
        floors = [float((min_losses or {}).get(key, 0.0)) for key in tasks]
        wide = torch.float64
        self.register_buffer('floor', torch.tensor(floors, dtype=wide), persistent=False)
        self.register_buffer('logits', torch.zeros(len(tasks), dtype=wide))
        self.register_buffer('moments', torch.zeros(2, len(tasks), dtype=wide))
        self.register_buffer('steps', torch.zeros(len(tasks), dtype=wide))
        # NaN where the last step had no loss of the task.
        self.register_buffer('before', torch.full((len(tasks),), float('nan'), dtype=wide))

    def combine(self, losses: Tensor, present: Tensor) -> Combination:
        gap = (losses - self.floor).clamp(min=0) + _EPS
        logits = torch.where(present, self.logits, -torch.inf)
        # Without any task the softmax is NaN, and nothing counts.
        shares = torch.where(present, torch.softmax(logits, dim=0), 0.0)
        scale = 1 / (shares / gap).sum().clamp(min=1e-300)
        objective = torch.where(present, scale * shares * gap.log(), 0.0).sum()
        return Combination(scale * shares / gap, objective)

    def observe(self, losses: Tensor, present: Tensor, counts: Tensor) -> None:
        logs = torch.where(present, self._log(losses), torch.nan)
        if self.measure == 'next_batch':
            self._update(logs)
        self.before = logs

    def after_step(self, losses: Tensor, present: Tensor) -> None:
        self._update(torch.where(present, self._log(losses), torch.nan))

    def _log(self, losses: Tensor) -> Tensor:
        return ((losses - self.floor).clamp(min=0) + _EPS).log()

    def _update(self, after: Tensor) -> None:
        """A step of Adam on ``v``, from the fall of the log losses of tasks measured twice."""
        fall = self.before - after
        known = fall.isfinite()
        fall = torch.where(known, fall, 0.0)
        shares = torch.softmax(torch.where(known, self.logits, -torch.inf), dim=0)
        shares = torch.where(known, shares, 0.0)
        gradient = shares * (fall - (shares * fall).sum()) + self.weight_decay * self.logits
        self.logits, self.moments, self.steps = masked_adam(
            self.logits, gradient, self.moments, self.steps, known, self.lr
        )
