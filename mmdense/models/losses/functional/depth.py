"""Depth losses: a value per picture, then the mean over the pictures with valid pixels.

Depths are metres in ``(B, 1, H, W)``; ``d`` is the prediction, ``g`` the ground truth and
``e = log d - log g``. Means run over valid pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .reduction import at_least_float32, batch_mean, fill_invalid, has_valid, image_mean

#: Least depth, metres, that enters a logarithm.
MIN_LOG_DEPTH = 1e-6
# Keeps the slope of a square root finite at zero error.
_ROOT_EPS = 1e-12


def log_error(pred: Tensor, target: Tensor, valid_mask: Tensor) -> Tensor:
    """``log d - log g`` ``(B, 1, H, W)``; 0 at invalid pixels."""
    # In fp32: half precision rounds small depths to 0, whose logarithm is infinite.
    d = fill_invalid(at_least_float32(pred), valid_mask, 1.0).clamp(min=MIN_LOG_DEPTH)
    g = fill_invalid(target, valid_mask, 1.0).clamp(min=MIN_LOG_DEPTH)
    return d.log() - g.log()


def silog(
    pred: Tensor,
    target: Tensor,
    valid_mask: Tensor,
    variance_focus: float = 1.0,
    sqrt: bool = False,
) -> Tensor:
    """``mean(e^2) - variance_focus * mean(e)^2`` per picture, optionally its square root.

    Args:
        pred (Tensor): ``(B, 1, H, W)``, metres.
        target (Tensor): ``(B, 1, H, W)``, metres.
        valid_mask (Tensor): ``(B, 1, H, W)`` bool.
        variance_focus (float): 1 is the full variance of e, 0 its mean square.
        sqrt (bool): Take the root of each picture's value.

    Returns:
        Tensor: Scalar.
    """
    e = log_error(pred, target, valid_mask)
    mean = image_mean(e, valid_mask)
    variance = image_mean((e - mean[:, None, None, None]).square(), valid_mask)
    # Same value as the formula above, without its cancellation for a large common offset.
    value = variance + (1 - variance_focus) * mean.square()
    if sqrt:
        value = (value + _ROOT_EPS).sqrt()
    return batch_mean(value, has_valid(valid_mask))


def relative_squared_error(pred: Tensor, target: Tensor, valid_mask: Tensor) -> Tensor:
    """``sqrt(mean(((g - d) / g)^2) + 1e-12)`` per picture.

    Args:
        pred (Tensor): ``(B, 1, H, W)``, metres.
        target (Tensor): ``(B, 1, H, W)``, metres.
        valid_mask (Tensor): ``(B, 1, H, W)`` bool.

    Returns:
        Tensor: Scalar.
    """
    d = fill_invalid(pred, valid_mask, 1.0)
    g = fill_invalid(target, valid_mask, 1.0)
    value = image_mean(((g - d) / g).square(), valid_mask)
    return batch_mean((value + _ROOT_EPS).sqrt(), has_valid(valid_mask))


def charbonnier(pred: Tensor, target: Tensor, valid_mask: Tensor, c: float = 1.0) -> Tensor:
    """``mean(sqrt(((d - g) / c)^2 + 1) - 1)`` per picture.

    Args:
        pred (Tensor): ``(B, 1, H, W)``, metres.
        target (Tensor): ``(B, 1, H, W)``, metres.
        valid_mask (Tensor): ``(B, 1, H, W)`` bool.
        c (float): Error in metres where the square turns into the modulus.

    Returns:
        Tensor: Scalar.
    """
    d = fill_invalid(pred, valid_mask, 0.0)
    g = fill_invalid(target, valid_mask, 0.0)
    squared = ((d - g) / c).square()
    # sqrt(x + 1) - 1 without the cancellation at small x.
    values = squared / ((squared + 1).sqrt() + 1)
    return batch_mean(
        image_mean(values.sum(dim=1, keepdim=True), valid_mask), has_valid(valid_mask)
    )


def multi_scale_gradient(
    pred: Tensor, target: Tensor, valid_mask: Tensor, scales: int = 4
) -> Tensor:
    """``sum_s (1 / N_s) sum(|dx R_s| + |dy R_s|)`` per picture, R_s = e at every 2^s-th pixel.

    Forward differences of neighbours in R_s; one counts only if both its pixels are valid,
    and N_s is the number of those that count, in both directions together. A scale without
    any adds 0.

    Args:
        pred (Tensor): ``(B, 1, H, W)``, metres.
        target (Tensor): ``(B, 1, H, W)``, metres.
        valid_mask (Tensor): ``(B, 1, H, W)`` bool.
        scales (int): Number of scales.

    Returns:
        Tensor: Scalar.
    """
    e = log_error(pred, target, valid_mask)
    value = e.new_zeros(e.shape[0])
    for scale in range(scales):
        step = 2**scale
        r, mask = e[..., ::step, ::step], valid_mask[..., ::step, ::step]
        total, count = torch.zeros_like(value), torch.zeros_like(value, dtype=torch.long)
        for dim in (-1, -2):
            difference = r.diff(dim=dim).abs()
            length = mask.shape[dim]
            both = mask.narrow(dim, 1, length - 1) & mask.narrow(dim, 0, length - 1)
            total = total + torch.where(both, difference, 0.0).flatten(1).sum(dim=1)
            count = count + both.flatten(1).sum(dim=1)
        value = value + total / count.clamp(min=1)
    return batch_mean(value, has_valid(valid_mask))
