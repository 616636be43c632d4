"""Geometry between predicted maps: normals of a depth map, the camera of a prediction.

Conventions of the library: x to the right, y up, z towards the camera; depth Z along the
optical axis; a point (x, y, -Z) is seen at ``u = fx x / Z + cx``, ``v = cy - fy y / Z``; the
centre of pixel i is at i + 0.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray


def normals_from_depth(depth: Array, intrinsics: Array) -> Array:
    """Surface normals of a depth map; exact on planes.

    The inverse depth of a plane is linear in the pixel position. With the slopes ``a`` and
    ``b`` of ``w = 1 / Z`` along u and v and ``X = (u - cx) / fx``, ``Y = (cy - v) / fy``, its
    normal is along ``-(fx a, -fy b, fx a X - fy b Y - w)``. See
    :func:`normals_from_inverse_depth` for how slopes are taken at creases and borders.

    Args:
        depth (Array): ``(H, W)``, metres along the optical axis. Values that are not
            positive and finite are unknown.
        intrinsics (Array): ``(3, 3)``, pixels.

    Returns:
        Array: ``(H, W, 3)`` float64, unit vectors that face the camera; zero where depth is
        unknown, or known at less than one neighbour in a row or column.

    Example:
        >>> wall = np.full((4, 5), 2.0)
        >>> k = np.array([[5.0, 0, 2.5], [0, 5, 2], [0, 0, 1]])
        >>> normals_from_depth(wall, k)[1, 1].tolist()
        [0.0, 0.0, 1.0]
    """
    depth = np.asarray(depth, np.float64)
    known = np.isfinite(depth) & (depth > 0)
    inverse = np.divide(1, depth, out=np.zeros_like(depth), where=known)
    return normals_from_inverse_depth(inverse, intrinsics)


def normals_from_inverse_depth(inverse: Array, intrinsics: Array) -> Array:
    """As :func:`normals_from_depth`, from inverse depth in any unit, such as disparity.

    Of the two one-sided slopes at a pixel, each has a bend: how far the next pixel on that side
    is off its straight line. They are averaged with the bend of the *other* side as
    weight, so that a pixel next to a crease or an occlusion takes the slope of the surface
    it lies on, and smooth surfaces get the central difference.

    Args:
        inverse (Array): ``(H, W)``, proportional to 1 / Z; 0 is unknown.
        intrinsics (Array): ``(3, 3)``, pixels.
    """
    w = np.asarray(inverse, np.float64)
    known = np.isfinite(w) & (w > 0)
    w = np.where(known, w, np.nan)
    height, width = w.shape
    fx, fy = intrinsics[0, 0], intrinsics[1, 1]
    x = (np.arange(width) + 0.5 - intrinsics[0, 2]) / fx
    y = (intrinsics[1, 2] - np.arange(height)[:, None] - 0.5) / fy
    along_x = fx * _slope(w, axis=1)
    along_y = -fy * _slope(w, axis=0)
    normals = -np.stack([along_x, along_y, along_x * x + along_y * y - w], axis=-1)
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    usable = np.isfinite(length) & (length > 0)
    # + 0.0 makes 0 of -0.
    return np.divide(normals, length, out=np.zeros_like(normals), where=usable) + 0.0


def _slope(w: Array, axis: int) -> Array:
    """Slope per pixel of ``w``, NaN where unknown; NaN where both neighbours are unknown."""
    w = np.moveaxis(w, axis, -1)
    padded = np.pad(w, [(0, 0), (2, 2)], constant_values=np.nan)
    two_left, left, right, two_right = (padded[:, i : i + w.shape[1]] for i in (0, 1, 3, 4))
    forward, backward = right - w, w - left
    # A side of one known pixel only has no bend: it counts as straight as the worst.
    bend_forward = np.nan_to_num(np.abs(two_right - 2 * right + w), nan=np.inf)
    bend_backward = np.nan_to_num(np.abs(two_left - 2 * left + w), nan=np.inf)
    share = _share(bend_backward, bend_forward)
    share = np.where(np.isnan(backward), 1.0, np.where(np.isnan(forward), 0.0, share))
    slope = share * np.nan_to_num(forward) + (1 - share) * np.nan_to_num(backward)
    slope[np.isnan(forward) & np.isnan(backward)] = np.nan
    return np.moveaxis(slope, -1, axis)


def _share(one: Array, other: Array) -> Array:
    """``one / (one + other)`` for bends >= 0; one half where both are zero or infinite."""
    both = one + other
    finite = np.isfinite(both) & (both > 0)
    share = np.divide(one, both, out=np.full_like(one, 0.5), where=finite)
    share[np.isinf(one) & np.isfinite(other)] = 1.0
    share[np.isfinite(one) & np.isinf(other)] = 0.0
    return share


def native_intrinsics(meta: Mapping[str, Any], size: tuple[int, int]) -> Array:
    """Intrinsics ``(3, 3)`` at the size of a prediction.

    ``meta['intrinsics']`` is the camera of the network's input, resized and padded; this
    takes the padding off and scales to ``size`` ``(H, W)``, as the predictor does with maps.

    Args:
        meta (Mapping): Meta information of a sample: ``intrinsics``, and ``padding_size``
            and ``pad_shape`` where there is padding.
        size (tuple[int, int]): Height and width of the prediction.
    """
    left, right, top, bottom = meta.get('padding_size', (0, 0, 0, 0))
    height, width = (meta.get('pad_shape') or meta.get('img_shape') or size)[:2]
    scale_x = size[1] / (width - left - right)
    scale_y = size[0] / (height - top - bottom)
    change = np.array([[scale_x, 0, -left * scale_x], [0, scale_y, -top * scale_y], [0, 0, 1]])
    return change @ np.asarray(meta['intrinsics'], np.float64)
