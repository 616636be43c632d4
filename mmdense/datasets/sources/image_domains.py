"""Taskonomy's further domains, computed from a picture, its depth and its normals.

They have the encodings and the look of the published domains. They are not what the
authors' programs give: those use other detectors, and meshes where these use one view.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..rooms.camera import back_project, pixel_rays

Array = np.ndarray

#: Curvature, in 1/m, that becomes 1.
MAX_CURVATURE = 20.0


def texture_edges(image: Array) -> Array:
    """Strength of picture edges ``(H, W)`` float32 in [0, 1]: smoothed gradient, no thinning."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.0)
    # The factor makes the response to a step of one grey unit about one.
    across, down = (cv2.Sobel(smooth, cv2.CV_32F, *axis, scale=0.25) for axis in ((1, 0), (0, 1)))
    return np.clip(np.hypot(across, down), 0, 1)


def texture_keypoints(image: Array) -> Array:
    """Cornerness ``(H, W)`` float32 in [0, 1]: root of the smaller eigenvalue, scaled to 1."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    response = np.sqrt(np.maximum(cv2.cornerMinEigenVal(grey, blockSize=5), 0))
    return response / max(float(response.max()), 1e-6)


def reshading(normals: Array, intrinsics: Array) -> Array:
    """Lambert shading ``(H, W)`` float32 in [0, 1] by a light at the camera."""
    x, y = pixel_rays(intrinsics, normals.shape[:2])
    # From the surface to the camera: against the ray (x, y, -1).
    toward = normals[..., 2] - normals[..., 0] * x - normals[..., 1] * y[:, None]
    cosine = toward / np.sqrt(1 + x**2 + y[:, None] ** 2)
    return np.clip(cosine, 0, 1)


def curvature(normals: Array, depth: Array, intrinsics: Array, edges: Array) -> Array:
    """Principal curvatures ``(H, W, 2)`` in [-1, 1], larger and smaller; negative: convex.

    Args:
        normals (Array): ``(H, W, 3)`` unit vectors.
        depth (Array): ``(H, W)`` metres, known everywhere.
        intrinsics (Array): ``(3, 3)``.
        edges (Array): ``(H, W)`` 1 at borders between objects, where there is no curvature.
    """
    points = back_project(depth, intrinsics)
    du, dv = np.gradient(points, axis=(1, 0))
    nu, nv = np.gradient(normals, axis=(1, 0))

    def dot(a: Array, b: Array) -> Array:
        return np.einsum('hwc,hwc->hw', a, b)

    first = dot(du, du), dot(du, dv), dot(dv, dv)
    second = -dot(du, nu), -(dot(du, nv) + dot(dv, nu)) / 2, -dot(dv, nv)
    area = np.maximum(first[0] * first[2] - first[1] ** 2, 1e-12)
    mean = (first[0] * second[2] - 2 * first[1] * second[1] + first[2] * second[0]) / (2 * area)
    gauss = (second[0] * second[2] - second[1] ** 2) / area
    spread = np.sqrt(np.maximum(mean**2 - gauss, 0))
    curved = np.stack([mean + spread, mean - spread], axis=-1)
    curved[cv2.dilate(edges, np.ones((5, 5), np.uint8)) > 0] = 0
    return np.clip(curved / MAX_CURVATURE, -1, 1).astype(np.float32)
