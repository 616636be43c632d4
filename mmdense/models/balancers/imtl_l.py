"""Impartial scales of the losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mmdense.registry import BALANCERS

from .base import BaseBalancer, Combination


@BALANCERS.register_module()
class IMTLL(BaseBalancer):
    """IMTL-L: learned scales that bring all losses to the same size.

    Liu et al., "Towards Impartial Multi-task Learning" (ICLR 2021):
    ``sum_t exp(s_t) L_t - s_t``; at the minimum over ``s_t`` every scaled loss is 1. A task that
    no picture of a step has leaves its scale alone.

    Args:
        kwargs: Of :class:`BaseBalancer`.
    """

    needs = frozenset({'parameters'})

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.log_scale = nn.Parameter(torch.zeros(len(self.tasks or ())))

    def combine(self, losses: Tensor, present: Tensor) -> Combination:
        log_scale = self.log_scale.double()
        weights = torch.exp(log_scale)
        return Combination(weights, torch.where(present, weights * losses - log_scale, 0.0).sum())
