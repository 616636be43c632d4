"""Scale-invariant log loss."""

from __future__ import annotations

from torch import Tensor

from mmdense.registry import MODELS

from .base import DenseLoss
from .functional import silog


@MODELS.register_module()
class SILogLoss(DenseLoss):
    """Scale-invariant log loss for metric depth: ``mean(e^2) - variance_focus * mean(e)^2``.

    e = log pred - log target. Eq. (4) of Eigen et al., "Depth Map Prediction from a Single
    Image" (NeurIPS 2014), which trains with a focus of 0.5. The defaults are those of
    ViP-DeepLab and PolyMaX: full variance, no square root. BinsFormer: ``variance_focus=0.85,
    sqrt=True, loss_weight=10``. A value per picture, then the mean over the pictures with
    valid pixels. Predictions are clamped to 1e-6 m from below before the logarithm.

    Args:
        variance_focus (float): Weight of the squared mean, in [0, 1]. 1 is fully scale
            invariant.
        sqrt (bool): Take the root of each picture's value (1e-12 is added inside).
        loss_weight (float): Factor on the result.

    Shape:
        - pred: ``(B, 1, H, W)``, metres, > 0.
        - target: ``(B, 1, H, W)``, metres, > 0 where valid.

    Raises:
        ValueError: If ``variance_focus`` is outside [0, 1].
        ShapeError: As :class:`DenseLoss`.

    Example:
        >>> import torch
        >>> depth = 1 + torch.rand(2, 1, 4, 4)
        >>> bool(SILogLoss()(2 * depth, depth, depth > 0) < 1e-6)
        True
    """

    def __init__(
        self, variance_focus: float = 1.0, sqrt: bool = False, loss_weight: float = 1.0
    ) -> None:
        super().__init__(loss_weight)
        if not 0 <= variance_focus <= 1:
            raise ValueError(
                f'SILogLoss: variance_focus is {variance_focus}; it must be in [0, 1].'
            )
        self.variance_focus = variance_focus
        self.sqrt = sqrt

    def compute(self, pred: Tensor, target: Tensor, valid_mask: Tensor) -> Tensor:
        return silog(pred, target, valid_mask, self.variance_focus, self.sqrt)
