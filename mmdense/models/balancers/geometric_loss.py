"""The geometric mean of the losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmdense.registry import BALANCERS

from .base import BaseBalancer, Combination


@BALANCERS.register_module()
class GeometricLoss(BaseBalancer):
    """Geometric loss strategy: the T-th root of the product of the losses.

    Chennupati et al., "MultiNet++" (CVPR Workshops 2019). Losses must be positive; a loss of 0
    counts as ``eps`` and has no gradient. Tasks without labels are left out of the product and of
    T.

    Args:
        eps (float): Smallest loss. Defaults to 1e-8.
        kwargs: Of :class:`BaseBalancer`.
    """

    def __init__(self, eps: float = 1e-8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.eps = eps

    def combine(self, losses: Tensor, present: Tensor) -> Combination:
        count = present.sum().clamp(min=1)
        logs = torch.where(present, losses.clamp(min=self.eps).log(), 0.0)
        # No task at all: a mean of nothing, which is no loss.
        value = torch.where(present.any(), torch.exp(logs.sum() / count), 0.0)
        positive = present & (losses > self.eps)
        weights = torch.where(positive, value / (count * losses.clamp(min=self.eps)), 0.0)
        return Combination(weights, value)
