"""Weights that bring the gradients of all tasks to the same pace."""

from __future__ import annotations

import torch
from torch import Tensor

from mmdense.models.balancers.adam import masked_adam
from mmdense.registry import AGGREGATORS

from .base import Aggregator, Direction, norms_of


@AGGREGATORS.register_module()
class GradNorm(Aggregator):
    """GradNorm: learned loss weights, larger for tasks that train slowly.

    Chen et al., "GradNorm" (ICML 2018). With ``w = T softmax(v)`` the model is trained on
    ``sum_t w_t L_t``, and v on ``sum_t |w_t |g_t| - mean(w |g|) r_t^alpha|``, where ``r_t`` is the
    loss over its first value, relative to the mean of all tasks, and the target is held constant.
    Differs from the paper: the softmax takes the place of rescaling the weights to the sum T.
    Tasks without labels keep their ``v``.

    Args:
        alpha (float): How strongly slow tasks are favoured. Defaults to 1.5.
        lr (float): Rate of Adam for ``v``. Defaults to 0.025.
    """

    def __init__(self, alpha: float = 1.5, lr: float = 0.025) -> None:
        super().__init__()
        if lr <= 0:
            raise ValueError(f'GradNorm.lr is {lr}; it must be above 0.')
        self.alpha, self.lr = alpha, lr

    def row_weights(self, losses: Tensor) -> Tensor:
        logits = self.recall('logits', torch.zeros_like(losses))
        return len(losses) * torch.softmax(logits, dim=0)

    def __call__(self, matrix: Tensor, losses: Tensor, present: Tensor) -> Direction:
        weights = self.row_weights(losses)
        logits = self.state['logits']
        first = self.recall('first', torch.full_like(losses, torch.nan))
        first = torch.where(first.isnan() & present & (losses > 0), losses, first)
        known = present & first.isfinite()
        norms = norms_of(matrix)  # of w_t g_t
        pace = torch.where(known, losses / first, 0.0)
        count = known.sum().clamp(min=1)
        pace = pace / (pace.sum() / count).clamp(min=1e-12)
        target = torch.where(known, norms, 0.0).sum() / count * pace**self.alpha
        slope = torch.where(known, torch.sign(norms - target) * norms / weights, 0.0)
        # Through w = T softmax(v).
        gradient = weights * (slope - (weights * slope).sum() / len(weights))
        moments = self.recall('moments', losses.new_zeros(2, len(losses)))
        steps = self.recall('steps', torch.zeros_like(losses))
        logits, moments, steps = masked_adam(logits, gradient, moments, steps, known, self.lr)
        self.state = dict(logits=logits, first=first, moments=moments, steps=steps)
        return Direction(matrix.sum(dim=0), torch.where(present, 1.0, 0.0).to(matrix.dtype))
