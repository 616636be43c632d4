"""Geometry that moves pictures, ground truth and intrinsics alike.

Pixel-centre convention: the pixel in column ``u`` and row ``v`` covers the square from
``(u, v)`` to ``(u + 1, v + 1)``, and its centre is ``(u + 0.5, v + 0.5)``. Resizing a map of width
``W`` to ``W'`` therefore moves position ``x`` to ``x * W' / W`` (``align_corners=False``), the
picture edge stays the picture edge, and the principal point of an intrinsic matrix scales like
any other position.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from mmdense.tasks import BaseTask

Array = np.ndarray
Size = tuple[int, int]
#: ``move(array, interpolation, fill)``: moves the pixels of ``(H, W)`` or ``(H, W, C)``.
Mover = Callable[[Array, str, float], Array]


#: Rules of nearest resampling, see :func:`nearest_index`.
NEAREST_RULES = ('center', 'corner')
_CV2_MODES = {
    'nearest': cv2.INTER_NEAREST,
    'linear': cv2.INTER_LINEAR,
    'cubic': cv2.INTER_CUBIC,
}
#: Ways of resampling.
INTERPOLATIONS = tuple(_CV2_MODES)


def nearest_index(source: int, target: int, rule: str = 'center') -> Array:
    """Source pixel of each target pixel, ``(target,)``.

    Args:
        source (int): Length before.
        target (int): Length after.
        rule (str): ``'center'``: the pixel that holds the centre of the target pixel, exactly
            ``floor((i + 0.5) * source / target)``, which is where bilinear resampling puts
            it too. ``'corner'``: the pixel that holds its upper left corner,
            ``floor(i * source / target)`` as ``cv2.INTER_NEAREST`` and torch compute it;
            against a bilinear picture labels move by up to half a source pixel.

    Example:
        >>> nearest_index(6, 2).tolist(), nearest_index(6, 2, 'corner').tolist()
        ([1, 4], [0, 3])
    """
    if rule == 'center':
        return (2 * np.arange(target) + 1) * source // (2 * target)
    # The double division of OpenCV: its rounding decides where i * source / target is whole.
    step = 1 / (target / source)
    return np.minimum(np.floor(np.arange(target) * step).astype(np.intp), source - 1)


def resize_nearest(array: Array, size: Size, rule: str = 'center') -> Array:
    """Resize ``(H, W[, C])`` to ``size``; every output pixel is a copy of an input pixel."""
    rows = nearest_index(array.shape[0], size[0], rule)
    cols = nearest_index(array.shape[1], size[1], rule)
    # Copying whole rows is much cheaper than picking pixels: pick on the smaller array.
    if size[0] < array.shape[0]:
        return array.take(rows, axis=0).take(cols, axis=1)
    return array.take(cols, axis=1).take(rows, axis=0)


def resize_image(img: Array, size: Size, mode: str = 'linear') -> Array:
    """Resize of a picture ``(H, W, C)``; cubic overshoots of uint8 are clipped."""
    if img.shape[:2] == size:
        return img
    return cv2.resize(img, size[::-1], interpolation=_CV2_MODES[mode])


def resize_aligned(array: Array, size: Size) -> Array:
    """Bilinear resize that maps corner pixels onto corner pixels (``align_corners=True``).

    uint8 is rounded to the nearest level.
    """
    if array.shape[:2] == size:
        return array
    tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    tensor = tensor[..., None] if tensor.ndim == 2 else tensor
    moved = F.interpolate(
        tensor.permute(2, 0, 1)[None], size=size, mode='bilinear', align_corners=True
    )
    out = moved[0].permute(1, 2, 0).numpy().reshape(*size, *array.shape[2:])
    return np.rint(out).astype(array.dtype) if array.dtype == np.uint8 else out


def move_gt(task: BaseTask, gt: Array, mode: str, move: Mover) -> Array:
    """Move the pixels of a ground-truth array without inventing values.

    ``'nearest'`` copies pixels. ``'linear'`` averages known pixels only, each with its
    bilinear weight over the sum of the weights of known pixels, and leaves unknown what
    nearest resampling leaves unknown; then the task repairs its values (unit length).
    ``'cubic'`` is cubic where all pixels that it weighs are known and linear elsewhere, so
    that nothing bleeds over the border of the known region. Labels are moved by nearest
    whatever ``mode`` says.

    Args:
        task (BaseTask): The task of ``gt``.
        gt (Array): ``(H, W)`` or ``(H, W, D)``.
        mode (str): ``'nearest'``, ``'linear'`` or ``'cubic'``.
        move (Mover): Moves one array.

    Raises:
        ValueError: If the task's values cannot be moved by ``mode``.
    """
    if mode == 'nearest' or not np.issubdtype(gt.dtype, np.floating):
        return move(gt, 'nearest', task.ignore_value)
    if mode not in task.interpolations:
        raise ValueError(
            f"interpolation['{task.key}'] is {mode!r}, but maps of this task can be moved by "
            f'{" or ".join(map(repr, task.interpolations))} only: others invent values.'
        )
    known = task.valid(gt).astype(np.uint8)
    moved_known = move(known, 'nearest', 0)
    total = move(known.astype(np.float32), 'linear', 0)
    # cv2 rounds nearest and linear coordinates apart: guards the division below.
    moved_known &= total > 0
    # What is unknown may be infinite; times zero that would be NaN.
    masked = cv2.copyTo(gt, known)
    values = move(masked, 'linear', 0)
    total[moved_known == 0] = 1
    values /= total if gt.ndim == 2 else cv2.merge([total] * gt.shape[2])
    if mode == 'cubic':
        # Where the eroded mask interpolates to 1, all 4 x 4 pixels of the cubic are known.
        sure = cv2.erode(known, np.ones((3, 3), np.uint8)).astype(np.float32)
        inner = move(sure, 'linear', 0) > 0.9999
        cv2.copyTo(move(masked, 'cubic', 0), inner.astype(np.uint8), values)
    values = task.renormalize(values, moved_known.astype(bool))
    out = np.full_like(values, task.ignore_value)
    return cv2.copyTo(values, moved_known, out)


def resize_gt(
    task: BaseTask,
    gt: Array,
    size: Size,
    mode: str | None = None,
    nearest: str = 'center',
    aligned: bool = False,
) -> Array:
    """Resize a ground-truth array.

    Args:
        task (BaseTask): The task of ``gt``.
        gt (Array): ``(H, W)`` or ``(H, W, D)``.
        size (tuple[int, int]): Height and width wanted.
        mode (str | None): As in :func:`move_gt`; None: the task's ``interpolation``.
        nearest (str): As in :func:`nearest_index`.
        aligned (bool): Whether linear resampling aligns corners.
    """
    if gt.shape[:2] == size:
        return gt

    def move(array: Array, how: str, fill: float) -> Array:
        if how == 'nearest':
            return resize_nearest(array, size, nearest)
        return resize_aligned(array, size) if aligned else resize_image(array, size, how)

    return move_gt(task, gt, mode or task.interpolation, move)


def warp(array: Array, matrix: Array, interpolation: str, fill: float) -> Array:
    """Affine warp at constant size; ``matrix`` ``(2, 3)`` maps source to target indices."""
    return cv2.warpAffine(
        array,
        matrix,
        array.shape[1::-1],
        flags=_CV2_MODES[interpolation],
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(fill,) * 4,
    )


def warp_results(
    results: dict[str, Any],
    matrix: Array,
    image_mode: str,
    modes: Mapping[str, str],
    change: Callable[[BaseTask, Array], Array],
) -> None:
    """Warp picture, ground truth and intrinsics at constant size.

    What comes in from outside is black and unknown.

    Args:
        results (dict): The sample.
        matrix (Array): ``(2, 3)``, source to target indices: a rotation times a factor.
        image_mode (str): How the picture is resampled.
        modes (Mapping): Task key to interpolation; tasks not named: as the task says.
        change (Callable): ``change(task, array)``: what the warp does to values.
    """
    results['img'] = warp(results['img'], matrix, image_mode, 0)

    def move(task: BaseTask, gt: Array) -> Array:
        mode = modes.get(task.key, task.interpolation)
        moved = move_gt(task, gt, mode, lambda a, how, fill: warp(a, matrix, how, fill))
        return change(task, moved)

    map_gt(results, move)
    if 'intrinsics' in results:
        k = np.array(results['intrinsics'], dtype=np.float64)
        k[:2, :2] *= np.sqrt(np.linalg.det(matrix[:, :2]))
        # Indices count from pixel centres, positions from pixel corners.
        k[:2, 2] = matrix[:, :2] @ (k[:2, 2] - 0.5) + matrix[:, 2] + 0.5
        results['intrinsics'] = k


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
