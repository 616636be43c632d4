"""All tasks alike."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmdense.registry import BALANCERS

from .base import BaseBalancer, Combination, one_of


@BALANCERS.register_module()
class EqualWeights(BaseBalancer):
    """The mean or the sum of the losses.

    Args:
        reduction (str): ``'mean'``: each task weighs 1 / T, as Eq. (2) of MT-CP prints it;
            ``'sum'``: each weighs 1, what code bases do. T counts all tasks, with labels or
            without.
        kwargs: Of :class:`BaseBalancer`.

    Raises:
        ValueError: If ``reduction`` is unknown.
    """

    constant = True

    def __init__(self, reduction: str = 'mean', **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reduction = one_of('EqualWeights.reduction', reduction, ('mean', 'sum'))

    def combine(self, losses: Tensor, present: Tensor) -> Combination:
        weight = 1.0 / len(losses) if self.reduction == 'mean' else 1.0
        return Combination(torch.full_like(losses, weight))
