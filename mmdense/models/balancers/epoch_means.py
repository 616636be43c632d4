"""Means of losses over epochs, the raw material of several balancers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

#: A mean below it carries no ratio.
TINY = 1e-12


class EpochMeans(nn.Module):
    """Mean loss of each task over the running epoch, and the means of the last epochs.

    Steps in which a task has no labels or no finite loss do not count. Every process holds the
    same numbers, because the losses of a step are summed over processes before they come here;
    so the state is made of plain buffers that one process can save at any iteration.

    Args:
        num_tasks (int): T.
        rows (int): Epochs to remember.

    Attributes:
        sums (Tensor): ``(T,)`` float64, sum of the losses of the running epoch.
        counts (Tensor): ``(T,)`` float64, number of losses in ``sums``.
        history (Tensor): ``(rows, T)`` float64, means of the last epochs, the newest last; NaN
            where there is none.
        closed (Tensor): int64 scalar, epochs that are over.
    """

    sums: Tensor
    counts: Tensor
    history: Tensor
    closed: Tensor

    def __init__(self, num_tasks: int, rows: int) -> None:
        super().__init__()
        self.register_buffer('sums', torch.zeros(num_tasks, dtype=torch.float64))
        self.register_buffer('counts', torch.zeros(num_tasks, dtype=torch.float64))
        history = torch.full((rows, num_tasks), float('nan'), dtype=torch.float64)
        self.register_buffer('history', history)
        self.register_buffer('closed', torch.zeros((), dtype=torch.int64))

    def add(self, losses: Tensor, present: Tensor, counts: Tensor) -> None:
        """Count a step; arguments as in :meth:`.BaseBalancer.observe`."""
        self.sums += torch.where(present, losses * counts, 0.0)
        self.counts += torch.where(present, counts, 0.0)

    def close(self, reduce_fn: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """End the epoch.

        A mean that is missing, not finite or not positive is that of the task's last epoch.

        Args:
            reduce_fn (Callable | None): See :meth:`.BaseBalancer.step_epoch`.

        Returns:
            Tensor: ``(T,)`` float64, means of the epoch; NaN for tasks that never had one.
        """
        both = torch.stack([self.sums, self.counts])
        sums, counts = reduce_fn(both) if reduce_fn is not None else both
        means = sums / counts
        usable = means.isfinite() & (means > TINY)
        means = torch.where(usable, means, self.history[-1])
        self.history = torch.cat([self.history[1:], means[None]])
        self.sums = torch.zeros_like(self.sums)
        self.counts = torch.zeros_like(self.counts)
        self.closed = self.closed + 1
        return means

    def ago(self, epochs: int) -> Tensor:
        """``(T,)``, means of the epoch so many before the last one that is over."""
        return self.history[-1 - epochs]
