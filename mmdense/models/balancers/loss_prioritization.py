"""The loss prioritization scheme of MT-CP."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmdense.registry import BALANCERS

from .base import BaseBalancer, Combination, one_of
from .epoch_means import TINY, EpochMeans

#: Inside the logarithm of ``log_mode='loss'``.
_EPS = 1e-6


@BALANCERS.register_module()
class LossPrioritization(BaseBalancer):
    """Weighs a task by how its share of the total loss has changed over the last epochs.

    Eq. (3) to (6) of MT-CP ("Optimizing Dense Visual Predictions Through Multi-Task Coherence and
    Prioritization", WACV 2025): with means ``L_i^n`` of the raw
    final losses over epoch n and their sum ``L^n``, the raw weight of the next epoch is
    ``(L_i^n / L_i^{n-h}) / (L^n / L^{n-h})``; it is spread around the mean over tasks by
    ``spread``, kept at or above ``min_weight``, and enters the loss as ``log(1 + w_i) L_i``. In
    the first epoch ``w_i = 1``, so the final losses are scaled by ln 2. Losses of auxiliary
    predictions and terms without a task are added with weight 1 (Eq. 7).

    Differs from the paper: Eq. (4) as printed divides by the total of the epoch before, which
    cancels the current losses and always gives weights of at least 1; ``ratio='literal'`` computes
    it. Differs from the authors' code: there the weighted sum is computed and then replaced by
    the plain one, the history is one epoch, and resuming fails.

    Args:
        history (int): H, epochs to look back; fewer while the run is younger.
        spread (float): kappa of Eq. (6); 1 leaves the weights as they are.
        min_weight (float): Floor of the weights, at least 0. A task at 0 is not trained for an
            epoch; 0.05 is a safer floor. A weight that meets the floor is logged.
        ratio (str): ``'telescoped'``, as above, or ``'literal'``, Eq. (4) as printed, for study.
        warmup (str): ``'growing'``: look back over the epochs there are; ``'hold'``: keep
            weights of 1 until ``history`` epochs lie behind.
        first (str): Weights after the first epoch. ``'ones'``, or ``'inverse_share'``, the total
            over the loss of the task, neither spread nor floored (the authors' code).
        log_mode (str): ``'weight'``: ``sum log(1 + w_i) L_i`` (Eq. 3); ``'loss'``:
            ``sum w_i log(1 + L_i + 1e-6)``; ``'none'``: ``sum w_i L_i``.
        prioritize (bool): False keeps all weights at 1; with ``log_mode='loss'`` this is the
            ablation "log smoothing only". Defaults to True.
        kwargs: Of :class:`BaseBalancer`; ``aux_losses`` defaults to ``'added'`` here.

    Attributes:
        weights (Tensor): ``(T,)`` float64, w of the running epoch.

    Raises:
        ValueError: If an argument is out of range.
    """

    needs = frozenset({'epoch_means'})
    default_aux_losses = 'added'
    weights: Tensor

    def __init__(
        self,
        history: int = 3,
        spread: float = 2.5,
        min_weight: float = 0.0,
        ratio: str = 'telescoped',
        warmup: str = 'growing',
        first: str = 'ones',
        log_mode: str = 'weight',
        prioritize: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if history < 1 or spread < 0 or min_weight < 0:
            raise ValueError(
                f'LossPrioritization: history={history}, spread={spread}, min_weight={min_weight}; '
                'history is at least 1, the others at least 0 (log(1 + w) of a negative weight '
                'would raise the loss of its task).'
            )
        self.lookback = history
        self.spread = spread
        self.min_weight = min_weight
        self.ratio = one_of('LossPrioritization.ratio', ratio, ('telescoped', 'literal'))
        self.warmup = one_of('LossPrioritization.warmup', warmup, ('growing', 'hold'))
        self.first = one_of('LossPrioritization.first', first, ('ones', 'inverse_share'))
        modes = ('weight', 'loss', 'none')
        self.log_mode = one_of('LossPrioritization.log_mode', log_mode, modes)
        self.prioritize = prioritize
        tasks = self.tasks or ()
        self.epochs = EpochMeans(len(tasks), history + 1)
        self.register_buffer('weights', torch.ones(len(tasks), dtype=torch.float64))

    def combine(self, losses: Tensor, present: Tensor) -> Combination:
        if self.log_mode == 'loss':
            inside = 1 + losses + _EPS
            objective = torch.where(present, self.weights * inside.log(), 0.0).sum()
            return Combination(self.weights / inside, objective)
        return Combination(self.factors())

    def factors(self) -> Tensor:
        """``(T,)``, f(w_i): what multiplies the losses unless ``log_mode='loss'``."""
        return torch.log1p(self.weights) if self.log_mode == 'weight' else self.weights

    def observe(self, losses: Tensor, present: Tensor, counts: Tensor) -> None:
        self.epochs.add(losses, present, counts)

    def step_epoch(self, reduce_fn: Callable[[Tensor], Tensor] | None = None) -> None:
        self.epochs.close(reduce_fn)
        if not self.prioritize:
            return
        # A handful of numbers once per epoch: cheaper on the host.
        history = self.epochs.history.cpu()
        epoch = int(self.epochs.closed) - 1
        weights, raised = self._weights_after(epoch, history)
        self.weights = weights.to(self.weights.device)
        for index in raised.nonzero().flatten().tolist():
            print_log(
                f"LossPrioritization: the weight of '{(self.tasks or ())[index]}' would be "
                f'below its floor after epoch {epoch + 1}; it is {self.min_weight:g} for the next '
                'one. Its share of the total loss fell fast; lower `spread` or raise '
                '`min_weight` if this repeats.',
                logger='current',
                level=logging.WARNING,
            )

    def _weights_after(self, epoch: int, history: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of the next epoch, and which of them the floor has raised."""
        newest = history[-1]
        ones, unraised = torch.ones_like(newest), torch.zeros_like(newest, dtype=torch.bool)
        if epoch == 0 and self.first == 'inverse_share':
            known = newest > TINY
            total = torch.where(known, newest, 0.0).sum()
            return torch.where(known, total / newest, 1.0), unraised
        look = min(self.lookback, epoch)
        if look == 0 or (self.warmup == 'hold' and epoch < self.lookback):
            return ones, unraised
        raw, known = self._raw(history[-1 - look :])
        mean = torch.where(known, raw, 0.0).sum() / known.sum().clamp(min=1)
        spread = mean + self.spread * (raw - mean)
        raised = known & (spread < self.min_weight)
        return torch.where(known, spread.clamp(min=self.min_weight), 1.0), raised

    def _raw(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. (4) over rows ``(h + 1, T)``, and which tasks have a mean in each of them."""
        known = (rows > TINY).all(dim=0)
        rows = torch.where(known, rows, 1.0)
        totals = torch.where(known, rows, 0.0).sum(dim=1)
        if self.ratio == 'literal':
            return (totals[:-1, None] / rows[:-1]).prod(dim=0), known
        return (rows[-1] / rows[0]) / (totals[-1] / totals[0]), known
