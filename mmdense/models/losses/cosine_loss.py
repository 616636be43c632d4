"""One minus the cosine."""

from __future__ import annotations

from torch import Tensor

from mmdense.registry import MODELS

from .base import DenseLoss
from .functional import cosine


@MODELS.register_module()
class CosineLoss(DenseLoss):
    """Mean over the valid pixels of the batch of ``1 - cos(pred, target)``.

    Both vectors are normalised first, so the length of either does not matter.

    Args:
        loss_weight (float): Factor on the result.

    Shape:
        - pred, target: ``(B, D, H, W)``.

    Raises:
        ShapeError: As :class:`DenseLoss`.
    """

    def compute(self, pred: Tensor, target: Tensor, valid_mask: Tensor) -> Tensor:
        return cosine(pred, target, valid_mask)
