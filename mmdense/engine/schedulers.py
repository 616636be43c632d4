"""Learning-rate schedules."""

from __future__ import annotations

from typing import Any

from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import INF, _ParamScheduler

from mmdense.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class WarmupPolyLR(LRSchedulerMixin, _ParamScheduler):
    """Linear warm-up from 0, then polynomial decay on the global step.

    ``lr(t) = base * t / warmup`` for ``t < warmup``, and ``base * (1 - t / total) ^ power``
    after. The decay does not restart after warm-up, so the rate steps down by
    ``1 - (1 - warmup / total) ^ power`` there (4 % for 5000 of 100k): the schedule of
    kMaX-DeepLab, which chaining mmengine's ``LinearLR`` and ``PolyLR`` does not give.

    Args:
        optimizer (Optimizer | OptimWrapper): The optimizer.
        total (int): Step at which the rate reaches 0.
        warmup (int): Steps of warm-up, 0 to ``total``.
        power (float): Exponent of the decay.

    Raises:
        ValueError: If ``warmup`` is not in 0..``total``, or the schedule would end early.
    """

    def __init__(
        self,
        optimizer: Any,
        total: int,
        warmup: int = 0,
        power: float = 0.9,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = False,
        verbose: bool = False,
    ) -> None:
        if not 0 <= warmup < total:
            raise ValueError(
                f'WarmupPolyLR: warmup={warmup} must be at least 0 and below total={total}.'
            )
        if end < 2 or by_epoch:
            # Unless it reads by_epoch=False, a runner ends schedules after `max_epochs` steps,
            # which is 1 for a run that counts iterations.
            raise ValueError(
                f'WarmupPolyLR: end={end}, by_epoch={by_epoch}, but the schedule counts iterations '
                f'up to total={total}. Write by_epoch=False in param_scheduler.'
            )
        self.total, self.warmup, self.power = total, warmup, power
        super().__init__(
            optimizer, begin=begin, end=end, last_step=last_step, by_epoch=by_epoch, verbose=verbose
        )

    def factor(self, step: int) -> float:
        """Share of the base rate at ``step``."""
        if step < self.warmup:
            return step / self.warmup
        return max(0.0, 1 - step / self.total) ** self.power

    def _get_value(self) -> list[float]:
        return [base * self.factor(self.last_step) for base in self.base_values]
