"""Geometry that moves pictures, ground truth and intrinsics alike.

Pixel-centre convention: the pixel in column ``u`` and row ``v`` covers the square from
``(u, v)`` to ``(u + 1, v + 1)``, and its centre is ``(u + 0.5, v + 0.5)``. Resizing a map of width
``W`` to ``W'`` therefore moves position ``x`` to ``x * W' / W`` (``align_corners=False``), the
picture edge stays the picture edge, and the principal point of an intrinsic matrix scales like
any other position.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from mmdense.tasks import BaseTask

Array = np.ndarray
Size = tuple[int, int]
#: ``move(array, interpolation, fill)``: moves the pixels of ``(H, W)`` or ``(H, W, C)``.
Mover = Callable[[Array, str, float], Array]


def nearest_index(source: int, target: int) -> Array:
    """Source pixel that holds the centre of each target pixel, ``(target,)``.

    Exact integer form of ``floor((i + 0.5) * source / target)``. ``cv2.INTER_NEAREST``
    computes ``floor(i * source / target)``, which shifts labels by up to half a source
    pixel against a bilinear picture; ``INTER_NEAREST_EXACT`` has the right centres but
    rounds them in fixed point.

    Example:
        >>> nearest_index(6, 2).tolist()
        [1, 4]
    """
    return (2 * np.arange(target) + 1) * source // (2 * target)


def resize_nearest(array: Array, size: Size) -> Array:
    """Resize ``(H, W[, C])`` to ``size``; every output pixel is a copy of an input pixel."""
    rows = nearest_index(array.shape[0], size[0])
    cols = nearest_index(array.shape[1], size[1])
    # Copying whole rows is much cheaper than picking pixels: pick on the smaller array.
    if size[0] < array.shape[0]:
        return array.take(rows, axis=0).take(cols, axis=1)
    return array.take(cols, axis=1).take(rows, axis=0)


def resize_image(img: Array, size: Size) -> Array:
    """Bilinear resize of a picture ``(H, W, C)``."""
    if img.shape[:2] == size:
        return img
    return cv2.resize(img, size[::-1], interpolation=cv2.INTER_LINEAR)


def move_gt(task: BaseTask, gt: Array, mode: str, move: Mover) -> Array:
    """Move the pixels of a ground-truth array without inventing values.

    ``'nearest'`` copies pixels. ``'linear'`` averages known pixels only, each with its
    bilinear weight over the sum of the weights of known pixels, and leaves unknown what
    nearest resampling leaves unknown; then the task repairs its values (unit length).
    Labels are moved by nearest whatever ``mode`` says.

    Args:
        task (BaseTask): The task of ``gt``.
        gt (Array): ``(H, W)`` or ``(H, W, D)``.
        mode (str): ``'nearest'`` or ``'linear'``.
        move (Mover): Moves one array.
    """
    if mode == 'nearest' or not np.issubdtype(gt.dtype, np.floating):
        return move(gt, 'nearest', task.ignore_value)
    known = task.valid(gt)
    weight = known.astype(np.float32)
    moved_known = move(known.astype(np.uint8), 'nearest', 0).astype(bool)
    total = move(weight, 'linear', 0)
    # cv2 rounds nearest and linear coordinates apart: guards the division below.
    moved_known &= total > 0
    # What is unknown may be infinite; times zero that would be NaN.
    masked = np.where(known if gt.ndim == 2 else known[..., None], gt, 0).astype(gt.dtype)
    values = move(masked, 'linear', 0)
    total = np.where(moved_known, total, 1)
    values /= total if gt.ndim == 2 else total[..., None]
    values = task.renormalize(values, moved_known)
    values[~moved_known] = task.ignore_value
    return values


def resize_gt(task: BaseTask, gt: Array, size: Size, mode: str | None = None) -> Array:
    """Resize a ground-truth array; ``mode`` defaults to the task's interpolation."""
    if gt.shape[:2] == size:
        return gt

    def move(array: Array, how: str, fill: float) -> Array:
        return resize_nearest(array, size) if how == 'nearest' else resize_image(array, size)

    return move_gt(task, gt, mode or task.interpolation, move)


def warp(array: Array, matrix: Array, interpolation: str, fill: float) -> Array:
    """Affine warp at constant size; ``matrix`` ``(2, 3)`` maps source to target indices."""
    flag = cv2.INTER_NEAREST if interpolation == 'nearest' else cv2.INTER_LINEAR
    return cv2.warpAffine(
        array,
        matrix,
        array.shape[1::-1],
        flags=flag,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(fill,) * 4,
    )


def pad(array: Array, padding: tuple[int, int, int, int], fill: float) -> Array:
    """Pad ``(H, W[, C])`` by ``(left, right, top, bottom)`` pixels of ``fill``."""
    left, right, top, bottom = padding
    height, width = array.shape[:2]
    shape = (height + top + bottom, width + left + right, *array.shape[2:])
    out = np.full(shape, fill, dtype=array.dtype)
    out[top : top + height, left : left + width] = array
    return out


def map_gt(results: dict[str, Any], move: Callable[[BaseTask, Array], Array]) -> None:
    """Replace every ground-truth array of a sample by ``move(task, array)``."""
    gts = results.get('gt', {})
    results['gt'] = {key: move(results['tasks'][key], gt) for key, gt in gts.items()}


def move_intrinsics(
    results: dict[str, Any],
    scale: tuple[float, float] = (1.0, 1.0),
    offset: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Let ``results['intrinsics']``, if any, follow ``x -> scale * x + offset``.

    Args:
        results (dict): The sample.
        scale (tuple): Horizontal and vertical factor of pixel positions.
        offset (tuple): Horizontal and vertical shift in pixels, after scaling.
    """
    if 'intrinsics' not in results:
        return
    change = np.array([[scale[0], 0, offset[0]], [0, scale[1], offset[1]], [0, 0, 1]])
    results['intrinsics'] = change @ np.asarray(results['intrinsics'], dtype=np.float64)


def refuse_padded(results: dict[str, Any], transform: object) -> None:
    """Raise unless the picture is still without padding.

    Raises:
        ValueError: If :class:`TaskAwarePad` ran before.
    """
    if any(results.get('padding_size', ())):
        raise ValueError(
            f'{type(transform).__name__} comes after TaskAwarePad in the pipeline, which would '
            'lose track of the padding. Put TaskAwarePad last of the geometric transforms.'
        )
