"""Cross-entropy with the nearest of some directions."""

from __future__ import annotations

import torch
from torch import Tensor

from mmdense.registry import MODELS
from mmdense.utils.quantization import Directions, nearest_direction, read_directions

from .base import DenseLoss
from .functional import check_class_channels, pixel_cross_entropy


@MODELS.register_module()
class CentroidCrossEntropyLoss(DenseLoss):
    """Cross-entropy with the direction nearest to the normal, averaged over valid pixels (ATRC).

    Args:
        num_centroids (int): K.
        centroids (str | Sequence | None): Unit vectors ``(K, 3)``, a file of them, or None for
            directions spread evenly (see :class:`~mmdense.tasks.CentroidNormal`).
        loss_weight (float): Factor on the result.

    Shape:
        - pred: ``(B, K, H, W)`` logits.
        - target: ``(B, 3, H, W)``, unit vectors.

    Raises:
        FileNotFoundError: If the file is absent.
        ValueError: If there are not K unit vectors.
        ShapeError: As :class:`DenseLoss`, or if there are not K logits.
    """

    same_channels = False
    target_channels = 3
    directions: Tensor

    def __init__(
        self, num_centroids: int = 40, centroids: Directions = None, loss_weight: float = 1.0
    ) -> None:
        super().__init__(loss_weight)
        found = read_directions(f'{type(self).__name__}.centroids', centroids, num_centroids)
        # Not part of a checkpoint: the config states it.
        self.register_buffer('directions', torch.tensor(found), persistent=False)

    def compute(self, pred: Tensor, target: Tensor, valid_mask: Tensor) -> Tensor:
        check_class_channels(type(self).__name__, pred, len(self.directions))
        labels = nearest_direction(target.to(self.directions.dtype), self.directions)
        return pixel_cross_entropy(pred, labels, valid_mask)
