"""Adam on a handful of numbers that are learned outside the model's optimizer."""

from __future__ import annotations

import torch
from torch import Tensor

_BETAS = (0.9, 0.999)
_EPS = 1e-8


def masked_adam(
    values: Tensor, gradient: Tensor, moments: Tensor, steps: Tensor, known: Tensor, lr: float
) -> tuple[Tensor, Tensor, Tensor]:
    """A step of Adam for some of the numbers; the others keep value and state.

    Kingma and Ba, "Adam" (ICLR 2015), with its default betas and eps.

    Args:
        values (Tensor): ``(T,)``.
        gradient (Tensor): ``(T,)``.
        moments (Tensor): ``(2, T)``, running means of gradient and squared gradient; zeros first.
        steps (Tensor): ``(T,)``, steps so far.
        known (Tensor): ``(T,)`` bool, what to update.
        lr (float): Rate.

    Returns:
        tuple: New values, moments and steps.
    """
    steps = steps + known
    first = _BETAS[0] * moments[0] + (1 - _BETAS[0]) * gradient
    second = _BETAS[1] * moments[1] + (1 - _BETAS[1]) * gradient.square()
    count = steps.clamp(min=1)
    mean = first / (1 - _BETAS[0] ** count)
    size = (second / (1 - _BETAS[1] ** count)).sqrt()
    values = torch.where(known, values - lr * mean / (size + _EPS), values)
    return values, torch.where(known, torch.stack([first, second]), moments), steps
