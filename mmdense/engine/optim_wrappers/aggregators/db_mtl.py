"""Balance of losses by logarithms, and of gradients by their length."""

from __future__ import annotations

import torch
from torch import Tensor

from mmdense.registry import AGGREGATORS

from .base import Aggregator, Direction, norms_of

_EPS = 1e-8


@AGGREGATORS.register_module()
class DBMTL(Aggregator):
    """DB-MTL: gradients of log losses, averaged over steps, all as long as the longest.

    Lin et al., "Dual-Balancing for Multi-Task Learning" (arXiv 2308.12029): the losses become
    ``log(L_t + 1e-8)``, for the heads as well; on the shared parameters ``sum_t a_t y_t`` with the
    moving average ``y_t = b_k y_t + (1 - b_k) g_t``, ``b_k = beta / k^decay`` in step k, and
    ``a_t = max_j |y_j| / (|y_t| + 1e-8)``. Tasks without labels are left out of a step and keep
    their average. The averages take T times the memory of the shared parameters.

    Args:
        beta (float): Share of the old average, in [0, 1). Defaults to 0.9.
        decay (float): How fast that share falls. Defaults to 0.
    """

    def __init__(self, beta: float = 0.9, decay: float = 0.0) -> None:
        super().__init__()
        if not 0 <= beta < 1 or decay < 0:
            raise ValueError(f'DBMTL: beta={beta}, decay={decay}; beta in [0, 1), decay >= 0.')
        self.beta, self.decay = beta, decay

    def row_weights(self, losses: Tensor) -> Tensor:
        return 1 / (losses.clamp(min=0) + _EPS)

    def __call__(self, matrix: Tensor, losses: Tensor, present: Tensor) -> Direction:
        step = self.recall('step', torch.zeros_like(losses[0])) + 1
        average = self.recall('average', torch.zeros_like(matrix))
        beta = (self.beta / step**self.decay).to(matrix.dtype)
        fresh = beta * average + (1 - beta) * matrix
        average = torch.where(present[:, None], fresh, average)
        norms = torch.where(present, norms_of(average), 0.0)
        scales = torch.where(present, norms.max() / (norms + _EPS), 0.0)
        self.state = dict(step=step, average=average)
        return Direction(scales.to(matrix.dtype) @ average)
