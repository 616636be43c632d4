"""L1 over valid pixels."""

from __future__ import annotations

from torch import Tensor

from mmdense.registry import MODELS

from .base import DenseLoss
from .functional import check_channel_reduction, masked_l1


@MODELS.register_module()
class MaskedL1Loss(DenseLoss):
    """Mean over the valid pixels of the batch of ``|pred - target|``.

    Args:
        channel_reduction (str): ``'sum'`` over channels (ATRC, InvPT, DeMT) or ``'mean'``
            (MTI-Net: normals weigh a third as much). One channel: no difference.
        loss_weight (float): Factor on the result.

    Shape:
        - pred, target: ``(B, D, H, W)``.

    Raises:
        ValueError: If ``channel_reduction`` is unknown.
        ShapeError: As :class:`DenseLoss`.
    """

    def __init__(self, channel_reduction: str = 'sum', loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        check_channel_reduction(type(self).__name__, channel_reduction)
        self.channel_reduction = channel_reduction

    def compute(self, pred: Tensor, target: Tensor, valid_mask: Tensor) -> Tensor:
        return masked_l1(pred, target, valid_mask, self.channel_reduction)
