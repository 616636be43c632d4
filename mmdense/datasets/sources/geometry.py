"""Surface normals from a depth map, for sources that have no normals of their own."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..rooms.camera import pixel_rays

Array = np.ndarray


def normals_from_depth(
    depth: Array,
    intrinsics: Array,
    radii: Sequence[int] = (4, 2, 1),
    tolerance: float = 0.01,
) -> Array:
    """Normals by fitting a plane to the window around each pixel.

    For a plane ``n . X = d`` in camera coordinates the inverse depth is affine in the picture,
    ``1 / Z = (n_x x + n_y y - n_z) / d`` with ``(x, y, -1)`` the ray of a pixel. The fit is
    linear least squares on the inverse depth of the known pixels of a window, exact on
    planes. Of the windows the largest is taken whose root mean square residual is below
    ``tolerance`` of the inverse depth, so smooth surfaces are averaged far and edges are kept;
    where none fits, the smallest. This is *not* how the published normals of any data set
    were made.

    Args:
        depth (Array): ``(H, W)`` metres along the optical axis, 0 unknown.
        intrinsics (Array): ``(3, 3)``, pixels, centre of pixel i at i + 0.5.
        radii (Sequence[int]): Half widths of the windows, largest first.
        tolerance (float): Relative residual below which a window is taken for flat.

    Returns:
        Array: ``(H, W, 3)`` float32 unit vectors that face the camera (x right, y up, z
        towards the camera); zero where depth is unknown or too few pixels are known.
    """
    known = (depth > 0) & np.isfinite(depth)
    inverse = np.where(known, 1 / np.where(known, depth, 1), 0).astype(np.float64)
    x, y = pixel_rays(intrinsics, depth.shape)
    plane = np.zeros((*depth.shape, 3))
    settled = np.zeros(depth.shape, bool)
    for radius in radii:
        fitted, residual, solved = _fit_affine(inverse, known, radius)
        take = solved & ~settled
        plane[take] = fitted[take]
        settled |= solved & (residual < tolerance * inverse)
    # Slopes per pixel to slopes per unit of x and y; rows grow downwards, y upwards.
    slope_x = plane[..., 1] * intrinsics[0, 0]
    slope_y = -plane[..., 2] * intrinsics[1, 1]
    offset = plane[..., 0] - slope_x * x - slope_y * y[:, None]
    # n / d = (slope_x, slope_y, -offset), and d < 0 for a surface that faces the camera.
    normals = np.stack([-slope_x, -slope_y, offset], axis=-1)
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    valid = known[..., None] & (length > 1e-9)
    return np.where(valid, normals / np.where(valid, length, 1), 0).astype(np.float32)


def _fit_affine(value: Array, known: Array, radius: int) -> tuple[Array, Array, Array]:
    """Least squares of ``a + b u + c v`` in each window, u and v from its centre.

    Returns:
        tuple: Coefficients ``(H, W, 3)``, root mean square residual, and where it was solved.
    """
    side = 2 * radius + 1
    offset = np.arange(-radius, radius + 1, dtype=np.float64)
    kernels = [np.ones(side), offset, offset**2]
    weight = known.astype(np.float64)

    def moment(array: Array, u: int, v: int) -> Array:
        return cv2.sepFilter2D(
            array, cv2.CV_64F, kernels[u], kernels[v], borderType=cv2.BORDER_CONSTANT
        )

    n, nu, nv = moment(weight, 0, 0), moment(weight, 1, 0), moment(weight, 0, 1)
    nuu, nuv, nvv = moment(weight, 2, 0), moment(weight, 1, 1), moment(weight, 0, 2)
    q, qu, qv = moment(value, 0, 0), moment(value, 1, 0), moment(value, 0, 1)
    qq = moment(value**2, 0, 0)
    # Symmetric 3x3 systems by elimination of the constant: centred second moments.
    count = np.maximum(n, 1)
    uu, uv, vv = nuu - nu * nu / count, nuv - nu * nv / count, nvv - nv * nv / count
    qu, qv = qu - nu * q / count, qv - nv * q / count
    determinant = uu * vv - uv * uv
    solved = known & (n >= 3) & (determinant > 1e-6)
    safe = np.where(solved, determinant, 1)
    b, c = (qu * vv - qv * uv) / safe, (qv * uu - qu * uv) / safe
    a = (q - b * nu - c * nv) / count
    square = (qq - q * q / count - b * qu - c * qv) / count
    residual = np.sqrt(np.maximum(square, 0))
    return np.stack([a, b, c], axis=-1), residual, solved
