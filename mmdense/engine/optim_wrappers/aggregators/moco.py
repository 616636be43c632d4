"""Tracked gradients and the direction that lets the worst task gain."""

from __future__ import annotations

import torch
from torch import Tensor

from mmdense.models.balancers.base import one_of
from mmdense.registry import AGGREGATORS

from .base import Aggregator, Direction, norms_of


@AGGREGATORS.register_module()
class MoCo(Aggregator):
    """MoCo: multi-objective gradient correction.

    Fernando et al., "Mitigating Gradient Bias in Multi-objective Learning" (ICLR 2023): ``y_t``
    tracks the gradient, ``y_t - beta_k (y_t - g_t)``; the task weights follow
    ``P(lambda - gamma_k (Y Y^T + rho I) lambda)``; the direction is ``Y^T lambda``. Rates fall as
    ``beta / k^decay`` and ``gamma / k^decay``. Tasks without labels keep ``y_t`` and are left out
    of a step.

    Args:
        beta (float): Rate of the tracking. Defaults to 0.5.
        gamma (float): Rate of the task weights. Defaults to 0.1.
        rho (float): Pull towards equal weights. Defaults to 0.
        decay (float): Defaults to 0.5.
        normalise (bool): Whether ``g_t`` is brought to length ``L_t`` first. Defaults to True.
        projection (str): P. ``'simplex'``: the nearest point of the simplex (the paper);
            ``'softmax'`` (LibMTL).
    """

    def __init__(
        self,
        beta: float = 0.5,
        gamma: float = 0.1,
        rho: float = 0.0,
        decay: float = 0.5,
        normalise: bool = True,
        projection: str = 'simplex',
    ) -> None:
        super().__init__()
        self.beta, self.gamma, self.rho, self.decay = beta, gamma, rho, decay
        self.normalise = normalise
        self.projection = one_of('MoCo.projection', projection, ('simplex', 'softmax'))

    def __call__(self, matrix: Tensor, losses: Tensor, present: Tensor) -> Direction:
        count = len(matrix)
        step = self.recall('step', torch.zeros_like(losses[0])) + 1
        tracked = self.recall('tracked', torch.zeros_like(matrix))
        shares = self.recall('shares', torch.full_like(losses, 1 / count))
        if self.normalise:
            matrix = matrix * (losses / (norms_of(matrix) + 1e-8)).to(matrix.dtype)[:, None]
        beta = (self.beta / step**self.decay).to(matrix.dtype)
        tracked = torch.where(present[:, None], tracked - beta * (tracked - matrix), tracked)
        used = torch.where(present[:, None], tracked, 0.0)
        gramian = (used @ used.T).double()
        moved = shares - self.gamma / step**self.decay * (gramian @ shares + self.rho * shares)
        project = project_onto_simplex if self.projection == 'simplex' else _softmax
        shares = project(moved)
        self.state = dict(step=step, tracked=tracked, shares=shares)
        return Direction(shares.to(matrix.dtype) @ used, shares)


def project_onto_simplex(point: Tensor) -> Tensor:
    """The nearest vector ``(T,)`` of numbers from 0 that sum to 1.

    Example:
        >>> project_onto_simplex(torch.tensor([0.5, 1.5, -1.0]))
        tensor([0., 1., 0.])
    """
    ordered = point.sort(descending=True).values
    ranks = torch.arange(1, len(point) + 1, device=point.device, dtype=point.dtype)
    excess = (ordered.cumsum(0) - 1) / ranks
    # The last rank at which what is left stays positive.
    last = (ordered > excess).sum() - 1
    return (point - excess[last]).clamp(min=0)


def _softmax(point: Tensor) -> Tensor:
    return torch.softmax(point, dim=0)
