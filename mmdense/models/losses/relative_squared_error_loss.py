"""Root of the relative squared depth error."""

from __future__ import annotations

from torch import Tensor

from mmdense.registry import MODELS

from .base import DenseLoss
from .functional import relative_squared_error


@MODELS.register_module()
class RelativeSquaredErrorLoss(DenseLoss):
    """``sqrt(mean(((g - d) / g)^2) + 1e-12)`` per picture, then the mean over pictures.

    The second depth term of ViP-DeepLab and PolyMaX; it carries the absolute scale that
    :class:`SILogLoss` leaves free. Pictures without valid pixels are left out of the mean.

    Args:
        loss_weight (float): Factor on the result.

    Shape:
        - pred: ``(B, 1, H, W)``, metres.
        - target: ``(B, 1, H, W)``, metres, > 0 where valid.

    Raises:
        ShapeError: As :class:`DenseLoss`.
    """

    def compute(self, pred: Tensor, target: Tensor, valid_mask: Tensor) -> Tensor:
        return relative_squared_error(pred, target, valid_mask)
