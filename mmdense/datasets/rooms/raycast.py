"""Analytic ray casting of primitives, vectorised over pixels.

A ray is ``origin + t * direction`` with directions scaled to one unit along the optical
axis, so that ``t`` **is** the depth. Each solid visits only the pixels of its projected
bounding box. Nothing but depth and the index of the solid is kept here; everything else
follows from those two (:mod:`.surface`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .camera import Camera, pixel_rays
from .primitives import BOX, CAPSULE, CYLINDER, ELLIPSOID, Solids

Array = np.ndarray

#: Solids nearer than this plane are cut for the bounding box, metres.
NEAR = 0.05
_CORNERS = np.array(
    [[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64
)
_EDGES = np.array([(i, i | bit) for i in range(8) for bit in (1, 2, 4) if not i & bit])


@dataclass
class Rays:
    """The rays of one picture.

    Attributes:
        origin: The camera in the world, three floats.
        direction: World x, y, z of the directions, each ``(H, W)`` float32.
        inverse: Their reciprocals.
        pose, intrinsics: ``(4, 4)`` and ``(3, 3)`` float64.
        size: (H, W).
    """

    origin: tuple[float, float, float]
    direction: list[Array]
    inverse: list[Array]
    pose: Array
    intrinsics: Array
    size: tuple[int, int]

    @classmethod
    def of(cls, camera: Camera, size: tuple[int, int]) -> Rays:
        """All rays of ``camera`` for a picture of ``size`` (H, W)."""
        intrinsics, pose = camera.intrinsics(size), camera.pose()
        x, y = pixel_rays(intrinsics, size)
        direction, inverse = [], []
        for right, up, back in pose[:3, :3].astype(np.float32).tolist():
            # A camera looks along its -z.
            axis = (right * x - back)[None] + (up * y)[:, None]
            axis[np.abs(axis) < 1e-9] = 1e-9
            direction.append(axis)
            inverse.append(1 / axis)
        return cls(camera.position, direction, inverse, pose, intrinsics, size)


def bounding_windows(solids: Solids, rays: Rays) -> Array:
    """Pixel windows ``(N, 4)`` int as top, bottom, left, right (ends excluded); empty if unseen."""
    axes = solids.rotation.astype(np.float64) * solids.half[:, None, :]
    corners = solids.center[:, None] + np.matmul(_CORNERS, axes.transpose(0, 2, 1))
    rotation, position = rays.pose[:3, :3], rays.pose[:3, 3]
    points = (corners - position) @ rotation
    depth = -points[..., 2]
    # Corners behind the near plane are replaced by where the edges cross it.
    start, end = points[:, _EDGES[:, 0]], points[:, _EDGES[:, 1]]
    d0, d1 = depth[:, _EDGES[:, 0]], depth[:, _EDGES[:, 1]]
    crossing = (d0 < NEAR) != (d1 < NEAR)
    gap = np.where(crossing, d1 - d0, 1.0)
    share = np.where(crossing, (NEAR - d0) / gap, 0.0)[..., None]
    points = np.concatenate([points, start + share * (end - start)], axis=1)
    usable = np.concatenate([depth >= NEAR, crossing], axis=1)
    inverse = 1 / np.where(usable, np.maximum(-points[..., 2], NEAR * 0.5), 1.0)
    k = rays.intrinsics
    u = k[0, 0] * points[..., 0] * inverse + k[0, 2]
    v = k[1, 2] - k[1, 1] * points[..., 1] * inverse
    height, width = rays.size
    far = 1e6
    low = [np.floor(np.where(usable, c, far).min(1) - 1) for c in (v, u)]
    high = [np.ceil(np.where(usable, c, -far).max(1) + 1) for c in (v, u)]
    windows = [
        np.clip(edge, 0, limit)
        for edge, limit in ((low[0], height), (high[0], height), (low[1], width), (high[1], width))
    ]
    return np.stack(windows, axis=1).astype(np.int64)


def cast(solids: Solids, rays: Rays) -> tuple[Array, Array]:
    """Find the nearest solid along every ray.

    Args:
        solids (Solids): What the scene is made of. It must enclose the camera, so that
            every ray hits something.
        rays (Rays): The rays.

    Returns:
        tuple[Array, Array]: Depth ``(H, W)`` float32 in metres along the optical axis, and
        the index of the solid ``(H, W)`` intp.
    """
    depth = np.full(rays.size, np.inf, np.float32)
    index = np.zeros(rays.size, np.intp)
    windows = bounding_windows(solids, rays).tolist()
    kinds = solids.kind.tolist()
    centers, halves = solids.center.tolist(), solids.half.tolist()
    rotations = solids.rotation.reshape(-1, 9).tolist()
    for i, (top, bottom, left, right) in enumerate(windows):
        if top >= bottom or left >= right:
            continue
        window = (slice(top, bottom), slice(left, right))
        current = depth[window]
        near, far = _intersect(kinds[i], centers[i], halves[i], rotations[i], rays, window)
        if near is None:
            continue
        hit = near <= far
        hit &= near > 0
        hit &= near < current
        np.copyto(current, near, where=hit)
        np.copyto(index[window], i, where=hit)
    return depth, index


def _intersect(
    kind: int,
    center: list[float],
    half: list[float],
    rotation: list[float],
    rays: Rays,
    window: tuple[slice, slice],
) -> tuple[Array | None, Array | None]:
    """Where rays enter and leave a solid; ``near > far`` or NaN marks a miss.

    None where the camera is inside: such a solid is not seen.
    """
    offset = [o - c for o, c in zip(rays.origin, center)]
    if kind == BOX:
        permuted = _aligned_half(half, rotation)
        if permuted is not None:
            return _slabs(offset, [inv[window] for inv in rays.inverse], permuted)
    origin, direction = _to_local(offset, [d[window] for d in rays.direction], rotation)
    if kind == BOX:
        return _slabs(origin, [1 / d for d in direction], half)
    if kind == ELLIPSOID:
        return _ellipsoid(origin, direction, half)
    if kind == CYLINDER:
        return _cylinder(origin, direction, half)
    if kind == CAPSULE:
        return _capsule(origin, direction, half)
    raise ValueError(f'Primitive kind is {kind}, expected BOX, ELLIPSOID, CYLINDER or CAPSULE.')


def _aligned_half(half: list[float], rotation: list[float]) -> list[float] | None:
    """World half extents of a box turned by quarter turns; None for any other rotation."""
    if any(abs(r) not in (0.0, 1.0) for r in rotation):
        return None
    return [
        abs(rotation[3 * i]) * half[0]
        + abs(rotation[3 * i + 1]) * half[1]
        + abs(rotation[3 * i + 2]) * half[2]
        for i in range(3)
    ]


def _to_local(
    offset: list[float], direction: list[Array], r: list[float]
) -> tuple[list[float], list[Array]]:
    """Rays in the solid's own axes; rotations about the vertical skip the zero products."""
    origin = [r[k] * offset[0] + r[3 + k] * offset[1] + r[6 + k] * offset[2] for k in range(3)]
    dx, dy, dz = direction
    if r[4] == 1.0:
        if r[0] == 1.0:
            return origin, direction
        return origin, [r[0] * dx + r[6] * dz, dy, r[2] * dx + r[8] * dz]
    return origin, [r[k] * dx + r[3 + k] * dy + r[6 + k] * dz for k in range(3)]


def _slabs(
    origin: list[float], inverse: list[Array], half: list[float]
) -> tuple[Array | None, Array | None]:
    """A box: the last entry into a slab, the first exit from one."""
    near = far = None
    for o, inv, h in zip(origin, inverse, half):
        if abs(o) >= h:
            # Seen from outside the slab the order of the planes is known; a ray that
            # points away gets far < near, which is a miss.
            side = h if o > 0 else -h
            entry, leave = (side - o) * inv, (-side - o) * inv
            near = entry if near is None else np.maximum(near, entry, out=near)
        else:
            leave = np.maximum((h - o) * inv, (-h - o) * inv)
        far = leave if far is None else np.minimum(far, leave, out=far)
    return near, far


def _quadratic(origin: list[float], direction: list[Array], radius2: float) -> tuple[Array, Array]:
    """Point of closest approach to the origin, and half the chord inside ``radius2``; NaN: miss.

    The chord comes from the distance at closest approach rather than from a discriminant:
    the latter loses small, far spheres to cancellation in float32.
    """
    norm = direction[0] * direction[0]
    dot = origin[0] * direction[0]
    for o, d in zip(origin[1:], direction[1:]):
        norm += d * d
        dot += o * d
    np.maximum(norm, 1e-12, out=norm)
    middle = -dot / norm
    miss = np.full_like(norm, radius2)
    for o, d in zip(origin, direction):
        gap = o + middle * d
        miss -= gap * gap
    with np.errstate(invalid='ignore'):
        return middle, np.sqrt(miss / norm)


def _ellipsoid(
    origin: list[float], direction: list[Array], half: list[float]
) -> tuple[Array, Array]:
    scaled_origin = [o / h for o, h in zip(origin, half)]
    middle, chord = _quadratic(scaled_origin, [d * (1 / h) for d, h in zip(direction, half)], 1.0)
    near = middle - chord
    return near, near


def _cylinder(
    origin: list[float], direction: list[Array], half: list[float]
) -> tuple[Array, Array]:
    across = ([origin[0], origin[2]], [direction[0], direction[2]])
    middle, chord = _quadratic(*across, half[0] ** 2)
    near, far = middle - chord, middle + chord
    inverse = 1 / direction[1]
    low, high = (-half[1] - origin[1]) * inverse, (half[1] - origin[1]) * inverse
    near = np.maximum(near, np.minimum(low, high))
    return near, np.minimum(far, np.maximum(low, high))


def _capsule(origin: list[float], direction: list[Array], half: list[float]) -> tuple[Array, Array]:
    radius, straight = half[0], half[1] - half[0]
    across = ([origin[0], origin[2]], [direction[0], direction[2]])
    middle, chord = _quadratic(*across, radius**2)
    near = middle - chord
    height = origin[1] + near * direction[1]
    # Where the ray meets the endless cylinder beyond the straight part, only the cap on
    # that side can be hit.
    cap = np.where(height > 0, np.float32(straight), np.float32(-straight))
    cap_middle, cap_chord = _sphere_at(origin, direction, cap, radius)
    beyond = np.abs(height) > straight
    near = np.where(beyond, cap_middle - cap_chord, near)
    return near, near


def _sphere_at(
    origin: list[float], direction: list[Array], height: Array, radius: float
) -> tuple[Array, Array]:
    """As :func:`_quadratic`, for a sphere whose height on the y axis varies by pixel."""
    dx, dy, dz = direction
    oy = origin[1] - height
    norm = dx * dx + dy * dy + dz * dz
    middle = -(origin[0] * dx + oy * dy + origin[2] * dz) / norm
    gx, gy, gz = origin[0] + middle * dx, oy + middle * dy, origin[2] + middle * dz
    with np.errstate(invalid='ignore'):
        return middle, np.sqrt((radius**2 - gx * gx - gy * gy - gz * gz) / norm)
