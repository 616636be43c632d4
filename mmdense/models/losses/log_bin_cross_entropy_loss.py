"""Cross-entropy over logarithmic bins of depth."""

from __future__ import annotations

from torch import Tensor

from mmdense.registry import MODELS
from mmdense.utils.quantization import check_log_bins, log_bin_index

from .base import DenseLoss
from .functional import check_class_channels, pixel_cross_entropy


@MODELS.register_module()
class LogBinCrossEntropyLoss(DenseLoss):
    """Cross-entropy with the logarithmic bin of the depth, averaged over valid pixels (ATRC).

    Args:
        low (float): Lower end of the first bin; nearer pixels belong to it.
        high (float): Upper end of the last bin; farther pixels belong to it.
        num_bins (int): K.
        loss_weight (float): Factor on the result.

    Shape:
        - pred: ``(B, K, H, W)`` logits.
        - target: ``(B, 1, H, W)``, metres.

    Raises:
        ValueError: If the bins are empty, or fewer than two.
        ShapeError: As :class:`DenseLoss`, or if there are not K logits.
    """

    same_channels = False

    def __init__(
        self, low: float = 0.7, high: float = 10.0, num_bins: int = 40, loss_weight: float = 1.0
    ) -> None:
        super().__init__(loss_weight)
        check_log_bins(type(self).__name__, low, high, num_bins)
        self.low, self.high, self.num_bins = low, high, num_bins

    def compute(self, pred: Tensor, target: Tensor, valid_mask: Tensor) -> Tensor:
        check_class_channels(type(self).__name__, pred, self.num_bins)
        labels = log_bin_index(target, self.low, self.high, self.num_bins)
        return pixel_cross_entropy(pred, labels, valid_mask)
