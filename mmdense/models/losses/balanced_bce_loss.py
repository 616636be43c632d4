"""Binary cross-entropy for rare positives."""

from __future__ import annotations

from torch import Tensor

from mmdense.registry import MODELS

from .base import DenseLoss
from .functional import balanced_bce


@MODELS.register_module()
class BalancedBCELoss(DenseLoss):
    """Mean over valid pixels of ``w y softplus(-x) + (1 - w) (1 - y) softplus(x)``.

    With ``positive_weight=None`` w is the share of negatives among the valid pixels of the
    batch of this process (Xie and Tu, "Holistically-Nested Edge Detection", ICCV 2015, per
    batch rather than per picture); a batch of one class only then gives 0.

    Args:
        positive_weight (float | None): w in [0, 1]. 0.95 in ASTMT and InvPT, 0.8 in ATRC on
            NYUD-v2. None: adaptive.
        loss_weight (float): Factor on the result.

    Shape:
        - pred: ``(B, 1, H, W)`` logits.
        - target: ``(B, 1, H, W)``, 0 or 1 where valid.

    Raises:
        ValueError: If ``positive_weight`` is outside [0, 1].
        ShapeError: As :class:`DenseLoss`.
    """

    def __init__(self, positive_weight: float | None = 0.95, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        if positive_weight is not None and not 0 <= positive_weight <= 1:
            raise ValueError(
                f'BalancedBCELoss: positive_weight is {positive_weight}; it must be in [0, 1], or '
                'None for the share of negatives in the batch.'
            )
        self.positive_weight = positive_weight

    def compute(self, pred: Tensor, target: Tensor, valid_mask: Tensor) -> Tensor:
        return balanced_bce(pred, target, valid_mask, self.positive_weight)
