"""Means over the pixels and pictures that count, safe when none does."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from mmdense.utils import ShapeError


def full_precision(tensor: Tensor) -> AbstractContextManager:
    """A context in which autocast leaves matrix products on ``tensor``'s device in fp32."""
    kind = tensor.device.type
    # The meta device, on which operations are counted, knows no autocast.
    if not torch.amp.is_autocast_available(kind):
        return nullcontext()
    return torch.autocast(device_type=kind, enabled=False)


def at_least_float32(tensor: Tensor) -> Tensor:
    """``tensor`` in fp32, or unchanged if it is wider."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def fill_invalid(values: Tensor, valid_mask: Tensor, fill: float) -> Tensor:
    """Replace what invalid pixels hold before any arithmetic.

    Masking a result is not enough: an infinite value behind the mask (``1 / 0`` depth, NaN
    labels) still turns the gradient of the visible pixels into NaN.

    Args:
        values (Tensor): ``(B, D, H, W)``.
        valid_mask (Tensor): ``(B, 1, H, W)`` bool.
        fill (float): Value of the invalid pixels, harmless to what follows.
    """
    return torch.where(valid_mask, values, fill)


def pixel_mean(values: Tensor, valid_mask: Tensor) -> Tensor:
    """Mean over the valid pixels of the whole batch; 0 if there is none.

    Args:
        values (Tensor): ``(B, 1, H, W)``.
        valid_mask (Tensor): ``(B, 1, H, W)`` bool.

    Returns:
        Tensor: Scalar.
    """
    total = torch.where(valid_mask, values, 0.0).sum()
    return total / valid_mask.sum().clamp(min=1)


def image_mean(values: Tensor, valid_mask: Tensor) -> Tensor:
    """Mean over the valid pixels of each picture; 0 for a picture without one.

    Args:
        values (Tensor): ``(B, 1, H, W)``.
        valid_mask (Tensor): ``(B, 1, H, W)`` bool.

    Returns:
        Tensor: ``(B,)``.
    """
    total = torch.where(valid_mask, values, 0.0).flatten(1).sum(dim=1)
    return total / valid_mask.flatten(1).sum(dim=1).clamp(min=1)


def batch_mean(per_image: Tensor, counted: Tensor) -> Tensor:
    """Mean over the pictures that count; 0 if none does.

    Args:
        per_image (Tensor): ``(..., B)``.
        counted (Tensor): ``(B,)`` bool.

    Returns:
        Tensor: ``(...)``.
    """
    return torch.where(counted, per_image, 0.0).sum(dim=-1) / counted.sum().clamp(min=1)


def has_valid(valid_mask: Tensor) -> Tensor:
    """Which pictures ``(B,)`` have at least one valid pixel of ``(B, 1, H, W)``."""
    return valid_mask.flatten(1).any(dim=1)


def check_loss_inputs(
    name: str, pred: Tensor, target: Tensor, valid_mask: Tensor, target_channels: int
) -> None:
    """Compare the shapes that a loss was called with.

    Raises:
        ShapeError: If batch or size differ, if ``target`` has not ``target_channels``, or if
            the mask is not ``(B, 1, H, W)``.
    """
    frame = (pred.shape[0], *pred.shape[2:])
    want_target, want_mask = ((frame[0], c, *frame[1:]) for c in (target_channels, 1))
    for key, tensor, want in (
        ('target', target, want_target),
        ('valid_mask', valid_mask, want_mask),
    ):
        if tuple(tensor.shape) != want:
            raise ShapeError(
                f'{name}: `{key}` has shape {tuple(tensor.shape)}, expected {want} for a '
                f'prediction {tuple(pred.shape)} (layout BDHW). Resize the prediction to the '
                'ground truth before the loss.'
            )
    if valid_mask.dtype != torch.bool:
        raise ShapeError(
            f'{name}: `valid_mask` is {valid_mask.dtype}, expected torch.bool; compare first, '
            'for example `mask > 0`.'
        )
