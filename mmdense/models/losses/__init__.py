"""Losses of dense maps; ``functional`` holds the mathematics, one file here each wrapper."""

from .balanced_bce_loss import BalancedBCELoss
from .base import DenseLoss
from .centroid_cross_entropy_loss import CentroidCrossEntropyLoss
from .charbonnier_loss import CharbonnierLoss
from .cosine_loss import CosineLoss
from .kmax_seg_loss import KMaXSegLoss
from .log_bin_cross_entropy_loss import LogBinCrossEntropyLoss
from .masked_l1_loss import MaskedL1Loss
from .masked_l2_loss import MaskedL2Loss
from .multi_scale_gradient_loss import MultiScaleGradientLoss
from .pixel_cross_entropy_loss import PixelCrossEntropyLoss
from .relative_squared_error_loss import RelativeSquaredErrorLoss
from .silog_loss import SILogLoss

__all__ = [
    'BalancedBCELoss',
    'CentroidCrossEntropyLoss',
    'CharbonnierLoss',
    'CosineLoss',
    'DenseLoss',
    'KMaXSegLoss',
    'LogBinCrossEntropyLoss',
    'MaskedL1Loss',
    'MaskedL2Loss',
    'MultiScaleGradientLoss',
    'PixelCrossEntropyLoss',
    'RelativeSquaredErrorLoss',
    'SILogLoss',
]
