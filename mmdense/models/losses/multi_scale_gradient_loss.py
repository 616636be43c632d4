"""Gradients of the log-depth error at several scales."""

from __future__ import annotations

from torch import Tensor

from mmdense.registry import MODELS

from .base import DenseLoss
from .functional import multi_scale_gradient


@MODELS.register_module()
class MultiScaleGradientLoss(DenseLoss):
    """``sum_s (1 / N_s) sum(|dx R_s| + |dy R_s|)`` of the log-depth error R, for sharp edges.

    Li and Snavely, "MegaDepth" (CVPR 2018); R_s takes every 2^s-th pixel. Differs from their
    code: neighbouring pixels are compared rather than pixels two apart. A value per picture,
    then the mean over the pictures with valid pixels.

    Args:
        scales (int): Number of scales, from full size downwards.
        loss_weight (float): Factor on the result; MegaDepth's own is 0.5.
        final_only (bool): Whether deep supervision leaves this loss off auxiliary outputs,
            which are too coarse for edges.

    Shape:
        - pred: ``(B, 1, H, W)``, metres, > 0.
        - target: ``(B, 1, H, W)``, metres, > 0 where valid.

    Raises:
        ValueError: If ``scales`` is below 1.
        ShapeError: As :class:`DenseLoss`.
    """

    final_only = True

    def __init__(self, scales: int = 4, loss_weight: float = 0.5, final_only: bool = True) -> None:
        super().__init__(loss_weight)
        if scales < 1:
            raise ValueError(f'MultiScaleGradientLoss: scales is {scales}; it must be 1 or more.')
        self.scales = scales
        self.final_only = final_only

    def compute(self, pred: Tensor, target: Tensor, valid_mask: Tensor) -> Tensor:
        return multi_scale_gradient(pred, target, valid_mask, self.scales)
