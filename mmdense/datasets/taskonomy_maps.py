"""Encodings that only Taskonomy has."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from mmdense.utils import DataError

from .reading import Array, read_bytes, read_map

#: Tasks whose stored 16-bit value over 65,535 is the target; the others are 8 bit.
WIDE = ('edge_texture', 'edge_occlusion', 'keypoints2d', 'keypoints3d')


def read_regression(key: str, path: str, backend_args: dict[str, Any] | None = None) -> Array:
    """The target of a regression task.

    Args:
        key (str): One of :data:`WIDE` (over 65,535), ``'reshading'`` (over 255) or
            ``'principal_curvature'`` (two channels, 127 is zero, ``(v - 127) / 128``).
        path (str): The file.
        backend_args (dict | None): File backend.

    Returns:
        Array: float32 ``(H, W)``, for curvature ``(H, W, 2)``.

    Raises:
        DataError: If the file has another type or number of channels.
    """
    stored = read_map(path, backend_args)
    wanted = np.uint16 if key in WIDE else np.uint8
    ndims = dict(reshading=(2, 3), principal_curvature=(3,)).get(key, (2,))
    if stored.dtype != wanted or stored.ndim not in ndims:
        raise DataError(
            f"{path}: '{key}' is {stored.dtype} {stored.shape}, expected "
            f'{np.dtype(wanted).name} (H, W{", 3" if 3 in ndims else ""}).'
        )
    if key == 'principal_curvature':
        return (stored[..., :2].astype(np.float32) - 127) / np.float32(128)
    grey = stored if stored.ndim == 2 else stored[..., 0]
    return grey.astype(np.float32) / np.float32(np.iinfo(wanted).max)


def read_angle(path: str, backend_args: dict[str, Any] | None = None) -> float:
    """Angle of view in radians from a camera file, key ``field_of_view_rads``.

    Raises:
        DataError: If the file has none.
    """
    content = read_bytes(path, backend_args)
    try:
        angle = float(json.loads(content)['field_of_view_rads'])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f'{path}: is no camera file ({type(error).__name__}: {error}); expected a number '
            'field_of_view_rads.'
        ) from error
    if not 0 < angle < np.pi:
        raise DataError(f'{path}: field_of_view_rads is {angle}, expected 0 to pi.')
    return angle


def square_intrinsics(angle: float, size: tuple[int, ...]) -> Array:
    """Intrinsics ``(3, 3)`` in pixels of a centred camera that sees ``angle`` radians across."""
    height, width = size[:2]
    focal = width / (2 * np.tan(angle / 2))
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], np.float64)


def axis_depth(ray_depth: Array, intrinsics: Array) -> Array:
    """Depth along the ray ``(H, W)`` to depth along the optical axis.

    A point at ray depth r seen at pixel (u, v) has axis depth ``r / |((u - cx) / fx,
    (v - cy) / fy, 1)|``, pixel centres at +0.5.
    """
    height, width = ray_depth.shape
    x = (np.arange(width) + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (np.arange(height) + 0.5 - intrinsics[1, 2]) / intrinsics[1, 1]
    length = np.sqrt(1 + x[None, :] ** 2 + y[:, None] ** 2)
    return (ray_depth / length).astype(np.float32)
