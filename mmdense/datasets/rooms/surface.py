"""What can be said about the surface behind each pixel, given depth and solid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .primitives import BOX, CAPSULE, CYLINDER, Solids
from .raycast import Rays

Array = np.ndarray


@dataclass
class Surface:
    """Per-pixel geometry, flattened to ``n = H * W`` pixels, float32.

    Attributes:
        index: Solid of each pixel ``(n,)`` intp.
        depth: Metres along the optical axis ``(n,)``.
        direction: Ray directions, world ``(3, n)``, one unit along the optical axis.
        point: World points ``(3, n)``.
        local: The same in the solid's own axes ``(3, n)``, metres from its centre.
        face: Axis (0, 1, 2) of the box face that was hit; 3 on curved solids ``(n,)``.
        normal: Unit world normals ``(3, n)``, facing the camera.
        uv: Surface coordinates in metres ``(2, n)``.
    """

    index: Array
    depth: Array
    direction: Array
    point: Array
    local: Array
    face: Array
    normal: Array
    uv: Array


def describe_surface(solids: Solids, rays: Rays, depth: Array, index: Array) -> Surface:
    """Points, normals and surface coordinates of what was hit.

    Args:
        solids (Solids): The scene.
        rays (Rays): The rays that were cast.
        depth (Array): ``(H, W)`` from :func:`~.raycast.cast`.
        index (Array): ``(H, W)`` likewise.

    Returns:
        Surface: Flattened to ``H * W`` pixels.
    """
    ids, t = index.ravel(), depth.ravel()
    direction = np.stack([d.ravel() for d in rays.direction])
    point = direction * t
    point += np.array(rays.origin, np.float32)[:, None]
    rows = np.ascontiguousarray(solids.rotation.reshape(-1, 9).T)
    turn = [row.take(ids) for row in rows]
    offset = point - solids.center.T.take(ids, axis=1)
    local, aim = _to_axes(turn, offset), _to_axes(turn, direction)
    half = solids.half.T.take(ids, axis=1)

    # A ray enters a box through the front plane it lies on. Back planes are left out, so
    # that rounding at an edge cannot pick a face that looks away.
    gap = np.abs(local + np.copysign(half, aim))
    face = np.where(gap[1] < gap[0], np.uint8(1), np.uint8(0))
    face[gap[2] < np.minimum(gap[0], gap[1])] = 2
    own = np.zeros_like(local)
    flat = np.arange(ids.size)
    own[face, flat] = -np.sign(aim[face, flat])

    kind = solids.kind.take(ids)
    curved = np.flatnonzero(kind != BOX)
    if curved.size:
        own[:, curved] = _curved_normals(
            kind[curved], local[:, curved], half[:, curved], aim[:, curved]
        )
        face[curved] = 3
    normal = np.empty_like(own)
    for axis in range(3):
        base = 3 * axis
        normal[axis] = turn[base] * own[0] + turn[base + 1] * own[1] + turn[base + 2] * own[2]
    return Surface(ids, t, direction, point, local, face, normal, _coordinates(local, face))


def _to_axes(turn: list[Array], vector: Array) -> Array:
    """World vectors ``(3, n)`` in the solids' own axes."""
    x, y, z = vector
    return np.stack([turn[k] * x + turn[3 + k] * y + turn[6 + k] * z for k in range(3)])


def _curved_normals(kind: Array, local: Array, half: Array, aim: Array) -> Array:
    """Unit normals ``(3, m)`` of ellipsoids, cylinders and capsules in their own axes."""
    normal = local / (half * half)
    capsule = kind == CAPSULE
    straight = half[1] - half[0]
    stick = local[1] - np.clip(local[1], -straight, straight)
    cylinder = kind == CYLINDER
    side = half[0] - np.sqrt(local[0] * local[0] + local[2] * local[2])
    cap = cylinder & (np.abs(half[1] - np.abs(local[1])) < np.abs(side)) & (aim[1] * local[1] < 0)
    round_part = cylinder | capsule
    normal[0] = np.where(round_part, local[0], normal[0])
    normal[2] = np.where(round_part, local[2], normal[2])
    normal[1] = np.where(capsule, stick, np.where(cylinder, np.float32(0), normal[1]))
    normal[:, cap] = 0
    normal[1, cap] = np.sign(local[1, cap])
    normal /= _length(normal)
    # At a silhouette rounding may turn a normal away from the camera by a hair: take out
    # the component along the ray.
    away = np.maximum((normal * aim).sum(0), 0) / (aim * aim).sum(0)
    normal -= away * aim
    return normal / _length(normal)


def _length(vector: Array) -> Array:
    return np.maximum(np.sqrt((vector * vector).sum(0)), np.float32(1e-20))


def _coordinates(local: Array, face: Array) -> Array:
    """Two coordinates along the surface, metres: u across and v up where there is an up."""
    x, y, z = local
    uv = np.empty((2, x.size), np.float32)
    uv[0] = np.where(face == 0, z, x)
    uv[1] = np.where(face == 1, z, y)
    curved = face == 3
    uv[0][curved] += 0.7 * z[curved]
    return uv
