"""Charbonnier loss."""

from __future__ import annotations

from torch import Tensor

from mmdense.registry import MODELS

from .base import DenseLoss
from .functional import charbonnier


@MODELS.register_module()
class CharbonnierLoss(DenseLoss):
    """``mean(sqrt((error / c)^2 + 1) - 1)`` per picture, then the mean over pictures.

    Barron's general robust loss (CVPR 2019) at alpha = 1; PolyMaX trains depth on Taskonomy
    with it alone. Channels are summed. Pictures without valid pixels are left out of the mean.

    Args:
        c (float): Error, in the unit of the target (metres for depth), where the square turns
            into the modulus. The paper does not state it.
        loss_weight (float): Factor on the result.

    Shape:
        - pred, target: ``(B, D, H, W)``.

    Raises:
        ValueError: If ``c`` is not positive.
        ShapeError: As :class:`DenseLoss`.
    """

    def __init__(self, c: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        if c <= 0:
            raise ValueError(f'CharbonnierLoss: c is {c}; it is an error scale and must be > 0.')
        self.c = c

    def compute(self, pred: Tensor, target: Tensor, valid_mask: Tensor) -> Tensor:
        return charbonnier(pred, target, valid_mask, self.c)
