"""Pixel cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdense.registry import MODELS

from .base import DenseLoss
from .functional import pixel_cross_entropy


@MODELS.register_module()
class PixelCrossEntropyLoss(DenseLoss):
    """Cross-entropy averaged over the valid pixels of the batch.

    With class weights the sum is still divided by the number of valid pixels (the recipe of
    ATRC), not by the sum of the weights as PyTorch does.

    Args:
        class_weight (Sequence[float] | None): A factor per class.
        label_smoothing (float): Share of the target spread evenly over the classes, in [0, 1).
        loss_weight (float): Factor on the result.

    Shape:
        - pred: ``(B, C, H, W)`` logits.
        - target: ``(B, 1, H, W)`` labels, uint8 or long, below C where valid.

    Raises:
        ValueError: If ``label_smoothing`` is outside [0, 1).
        ShapeError: As :class:`DenseLoss`.

    Example:
        >>> loss = PixelCrossEntropyLoss()
        >>> labels = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
        >>> round(loss(torch.zeros(1, 2, 2, 2), labels, labels == 0).item(), 4)
        0.6931
    """

    same_channels = False
    class_weight: Tensor | None

    def __init__(
        self,
        class_weight: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        if not 0 <= label_smoothing < 1:
            raise ValueError(
                f'PixelCrossEntropyLoss: label_smoothing is {label_smoothing}; need [0, 1).'
            )
        weight = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float32)
        # Not part of a checkpoint: the config states it.
        self.register_buffer('class_weight', weight, persistent=False)
        self.label_smoothing = label_smoothing

    def compute(self, pred: Tensor, target: Tensor, valid_mask: Tensor) -> Tensor:
        return pixel_cross_entropy(
            pred, target, valid_mask, self.class_weight, self.label_smoothing
        )
