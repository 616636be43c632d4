"""Losses as pure functions: tensors in, a scalar out."""

from .depth import charbonnier, log_error, multi_scale_gradient, relative_squared_error, silog
from .mask_losses import (
    class_confidence,
    class_cross_entropy,
    mask_id_cross_entropy,
    mask_quality,
    weighted_dice,
)
from .mask_matching import (
    MaskTargets,
    fixed_matching,
    hungarian_matching,
    mask_targets,
    one_hot_labels,
)
from .pixel import (
    balanced_bce,
    check_channel_reduction,
    check_class_channels,
    cosine,
    masked_l1,
    masked_l2,
    pixel_cross_entropy,
)
from .pixel_sampling import (
    instance_discrimination,
    sample_maps,
    sample_pixels,
    sampled_cross_entropy,
)
from .reduction import (
    at_least_float32,
    batch_mean,
    check_loss_inputs,
    fill_invalid,
    full_precision,
    has_valid,
    image_mean,
    pixel_mean,
)
from .resize import resize

__all__ = [
    'MaskTargets',
    'at_least_float32',
    'balanced_bce',
    'batch_mean',
    'charbonnier',
    'check_channel_reduction',
    'check_class_channels',
    'check_loss_inputs',
    'class_confidence',
    'class_cross_entropy',
    'cosine',
    'fill_invalid',
    'fixed_matching',
    'full_precision',
    'has_valid',
    'hungarian_matching',
    'image_mean',
    'instance_discrimination',
    'log_error',
    'mask_id_cross_entropy',
    'mask_quality',
    'mask_targets',
    'masked_l1',
    'masked_l2',
    'multi_scale_gradient',
    'one_hot_labels',
    'pixel_cross_entropy',
    'pixel_mean',
    'relative_squared_error',
    'resize',
    'sample_maps',
    'sample_pixels',
    'sampled_cross_entropy',
    'silog',
    'weighted_dice',
]
