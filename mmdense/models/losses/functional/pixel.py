"""Losses whose mean runs over the valid pixels of the whole batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdense.utils import ShapeError

from .reduction import fill_invalid, pixel_mean

# What F.cross_entropy skips; labels themselves are 0..254.
_SKIP = -100


def pixel_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    valid_mask: Tensor,
    class_weight: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean over valid pixels of the (weighted) cross-entropy.

    The sum is divided by the number of valid pixels, not by the sum of their weights.

    Args:
        logits (Tensor): ``(B, C, H, W)``.
        labels (Tensor): ``(B, 1, H, W)``, integers below C where valid.
        valid_mask (Tensor): ``(B, 1, H, W)`` bool.
        class_weight (Tensor | None): ``(C,)``.
        label_smoothing (float): Share of the target spread evenly over the classes.

    Returns:
        Tensor: Scalar.
    """
    index = torch.where(valid_mask, labels.long(), _SKIP).squeeze(1)
    total = F.cross_entropy(
        logits,
        index,
        weight=class_weight,
        ignore_index=_SKIP,
        label_smoothing=label_smoothing,
        reduction='sum',
    )
    return total / valid_mask.sum().clamp(min=1)


def check_class_channels(name: str, logits: Tensor, num_classes: int) -> None:
    """Raise ``ShapeError`` unless ``logits`` ``(B, C, H, W)`` has one channel per class."""
    if logits.shape[1] != num_classes:
        raise ShapeError(
            f'{name}: the prediction has {logits.shape[1]} channels (shape '
            f'{tuple(logits.shape)}), expected {num_classes}, one per class. Give the part that '
            'predicts and the loss the same number.'
        )


def balanced_bce(
    logits: Tensor, labels: Tensor, valid_mask: Tensor, positive_weight: float | None
) -> Tensor:
    """Mean over valid pixels of ``w y softplus(-x) + (1 - w) (1 - y) softplus(x)``.

    Args:
        logits (Tensor): ``(B, D, H, W)``, x.
        labels (Tensor): ``(B, D, H, W)``, y in {0, 1} where valid.
        valid_mask (Tensor): ``(B, 1, H, W)`` bool.
        positive_weight (float | None): w. None: share of negatives among the valid
            pixels of the batch.

    Returns:
        Tensor: Scalar; summed over channels.
    """
    y = fill_invalid(labels.to(logits.dtype), valid_mask, 0.0)
    weight: float | Tensor
    if positive_weight is None:
        count = (valid_mask.sum() * labels.shape[1]).clamp(min=1)
        weight = (valid_mask & (y == 0)).sum() / count
    else:
        weight = positive_weight
    values = weight * y * F.softplus(-logits) + (1 - weight) * (1 - y) * F.softplus(logits)
    return pixel_mean(values.sum(dim=1, keepdim=True), valid_mask)


def check_channel_reduction(name: str, value: str) -> None:
    """Raise ``ValueError`` unless ``value`` names a way to reduce channels."""
    if value not in ('sum', 'mean'):
        raise ValueError(f"{name}: channel_reduction is {value!r}; choose 'sum' or 'mean'.")


def masked_l1(pred: Tensor, target: Tensor, valid_mask: Tensor, channels: str = 'sum') -> Tensor:
    """Mean over valid pixels of ``|pred - target|``, summed or averaged over channels.

    Args:
        pred (Tensor): ``(B, D, H, W)``.
        target (Tensor): ``(B, D, H, W)``.
        valid_mask (Tensor): ``(B, 1, H, W)`` bool.
        channels (str): ``'sum'`` or ``'mean'``.

    Returns:
        Tensor: Scalar.
    """
    error = _difference(pred, target, valid_mask).abs()
    return pixel_mean(_over_channels(error, channels), valid_mask)


def masked_l2(pred: Tensor, target: Tensor, valid_mask: Tensor, channels: str = 'sum') -> Tensor:
    """Mean over valid pixels of ``|pred - target|^2``; arguments as :func:`masked_l1`."""
    error = _difference(pred, target, valid_mask).square()
    return pixel_mean(_over_channels(error, channels), valid_mask)


def cosine(pred: Tensor, target: Tensor, valid_mask: Tensor) -> Tensor:
    """Mean over valid pixels of ``1 - cos(pred, target)``.

    Args:
        pred (Tensor): ``(B, D, H, W)``, of any length.
        target (Tensor): ``(B, D, H, W)``, of any length.
        valid_mask (Tensor): ``(B, 1, H, W)`` bool.

    Returns:
        Tensor: Scalar in [0, 2].
    """
    n = F.normalize(fill_invalid(pred, valid_mask, 1.0), dim=1, eps=1e-6)
    m = F.normalize(fill_invalid(target, valid_mask, 1.0), dim=1, eps=1e-6)
    return pixel_mean(1 - (n * m).sum(dim=1, keepdim=True), valid_mask)


def _difference(pred: Tensor, target: Tensor, valid_mask: Tensor) -> Tensor:
    return fill_invalid(pred, valid_mask, 0.0) - fill_invalid(target, valid_mask, 0.0)


def _over_channels(values: Tensor, how: str) -> Tensor:
    return values.sum(1, keepdim=True) if how == 'sum' else values.mean(1, keepdim=True)
