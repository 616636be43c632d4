"""Pinhole projection in library axes, and depth along the axis or along the ray.

Camera: x to the right, y up, z **towards the camera** (it looks along -z). Depth ``Z`` is
metres along the optical axis, so a camera point in front of the camera has ``z = -Z``. Pixels:
column i covers ``[i, i + 1)`` of the coordinate u, its centre is ``i + 0.5``; rows likewise
with v growing downwards. A camera point (x, y, -Z) is seen at ``u = fx * x / Z + cx``,
``v = cy - fy * y / Z``.
"""

from __future__ import annotations

import numpy as np

from mmdense.utils import ShapeError

Array = np.ndarray


def pixel_rays(intrinsics: Array, size: tuple[int, int]) -> tuple[Array, Array]:
    """Camera x of each column ``(W,)`` and y of each row ``(H,)`` at depth 1, float32."""
    height, width = size
    x = (np.arange(width) + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (intrinsics[1, 2] - np.arange(height) - 0.5) / intrinsics[1, 1]
    return x.astype(np.float32), y.astype(np.float32)


def back_project(depth: Array, intrinsics: Array) -> Array:
    """Camera points ``(H, W, 3)`` float32, metres, of a depth map ``(H, W)``."""
    x, y = pixel_rays(intrinsics, depth.shape)
    return np.stack([x[None] * depth, y[:, None] * depth, -depth], axis=-1).astype(np.float32)


def project(points: Array, intrinsics: Array) -> tuple[Array, Array]:
    """Pixel coordinates ``(..., 2)`` as (u, v) and depth ``(...)`` of camera points ``(..., 3)``.

    Points behind the camera have depth <= 0; their coordinates mean nothing.
    """
    depth = -points[..., 2]
    safe = np.where(np.abs(depth) < 1e-9, 1e-9, depth)
    u = intrinsics[0, 0] * points[..., 0] / safe + intrinsics[0, 2]
    v = intrinsics[1, 2] - intrinsics[1, 1] * points[..., 1] / safe
    return np.stack([u, v], axis=-1), depth


def axis_to_ray_depth(depth: Array, intrinsics: Array) -> Array:
    """Distance to the optical centre from depth along the axis.

    Args:
        depth (Array): ``(H, W)`` float, along the optical axis; 0 (unknown) stays 0.
        intrinsics (Array): ``(3, 3)`` in pixels, centre of pixel i at i + 0.5.

    Raises:
        ShapeError: If ``depth`` is no map.
    """
    return depth * _ray_length(depth, intrinsics)


def ray_to_axis_depth(distance: Array, intrinsics: Array) -> Array:
    """Depth along the axis, the library's, from the distance to the optical centre.

    The way into the library for Taskonomy's ``depth_euclidean``, and for other data that store
    the length of the ray.

    Args:
        distance (Array): ``(H, W)`` float; 0 (unknown) stays 0.
        intrinsics (Array): As in :func:`axis_to_ray_depth`.

    Raises:
        ShapeError: If ``distance`` is no map.
    """
    return distance / _ray_length(distance, intrinsics)


def _ray_length(depth: Array, intrinsics: Array) -> Array:
    """Length of the ray to each pixel at depth 1, in the type of ``depth``."""
    if depth.ndim != 2:
        raise ShapeError(f'depth is {depth.shape}, expected one map (H, W).')
    x, y = pixel_rays(intrinsics, depth.shape)
    return np.sqrt(1 + np.square(x)[None] + np.square(y)[:, None]).astype(depth.dtype)
