"""What the losses of dense maps share: how they are called, precision, weight."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from .functional import at_least_float32, check_loss_inputs, full_precision


class DenseLoss(nn.Module, ABC):
    """Base of losses called as ``loss(pred, target, valid_mask)``.

    A subclass writes :meth:`compute`, a thin wrapper of a pure function. The result is 0
    with finite gradients, still attached to ``pred``, if no pixel is valid. It is computed
    in fp32 even under autocast (or in fp64 for fp64 predictions).

    Args:
        loss_weight (float): Factor on the result.

    Shape:
        - pred: ``(B, D, H, W)`` in the domain of ``task.activate``: logits of labels,
          metres, unit vectors.
        - target: ``(B, D, H, W)``, or ``(B, target_channels, H, W)`` where ``same_channels`` is
          False.
        - valid_mask: ``(B, 1, H, W)`` bool.
        - output: scalar.

    Raises:
        ShapeError: If the three differ in batch or size, or in channels.
    """

    #: True for a loss that deep supervision leaves off auxiliary outputs.
    final_only: bool = False
    #: Whether prediction and ground truth have as many channels.
    same_channels: ClassVar[bool] = True
    #: Channels of the ground truth where ``same_channels`` is False.
    target_channels: ClassVar[int] = 1

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor, valid_mask: Tensor) -> Tensor:
        channels = pred.shape[1] if self.same_channels else self.target_channels
        check_loss_inputs(type(self).__name__, pred, target, valid_mask, channels)
        with full_precision(pred):
            return self.loss_weight * self.compute(at_least_float32(pred), target, valid_mask)

    @abstractmethod
    def compute(self, pred: Tensor, target: Tensor, valid_mask: Tensor) -> Tensor:
        """The loss without its weight; ``pred`` is fp32 or wider."""

    def extra_repr(self) -> str:
        return f'loss_weight={self.loss_weight}'
