import math

import numpy as np
import pytest

from mmdense.datasets.rooms.camera import Camera, back_project, project
from mmdense.datasets.rooms.materials import PLAIN, Material
from mmdense.datasets.rooms.primitives import (
    BOX,
    CAPSULE,
    CYLINDER,
    ELLIPSOID,
    Frame,
    Primitive,
    Solids,
    rotation_to,
)
from mmdense.datasets.rooms.raycast import Rays, cast
from mmdense.datasets.rooms.surface import describe_surface

GREY = Material(PLAIN, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
SIZE = (48, 64)


def solid(kind, center, half, rotation=IDENTITY, instance=2):
    return Primitive(kind, center, half, rotation, 0, instance, 0, GREY)


def backdrop(z=-6.0):
    """A wall across the view whose inward normal is world +z."""
    return solid(BOX, (0.0, 0.0, z), (50.0, 50.0, 0.0), instance=1)


def look(*primitives, camera=None, size=SIZE):
    solids = Solids([backdrop(), *primitives])
    rays = Rays.of(camera or Camera((0.0, 0.0, 0.0), 0.0, 0.0, 0.0), size)
    depth, index = cast(solids, rays)
    return solids, rays, depth, index


def test_depth_is_along_the_optical_axis_not_along_the_ray():
    _, _, depth, _ = look()
    np.testing.assert_allclose(depth, 6.0, rtol=1e-6)


def test_turned_wall_has_depth_of_its_plane_equation():
    camera = Camera((0.0, 0.0, 0.0), 0.4, 0.0, 0.0)
    _, rays, depth, _ = look(camera=camera)
    x = (np.arange(SIZE[1]) + 0.5 - rays.intrinsics[0, 2]) / rays.intrinsics[0, 0]
    # Camera axes in the world: right (cos, 0, -sin), back (sin, 0, cos). The wall is z = -6.
    expected = 6.0 / (math.cos(0.4) + math.sin(0.4) * x)
    np.testing.assert_allclose(depth, np.broadcast_to(expected, SIZE), rtol=1e-5)


def test_sphere_on_the_axis_is_nearest_by_its_radius():
    camera = Camera((0.0, 0.0, 0.0), 0.0, 0.0, 0.0, shift=(1 / 128, -1 / 128))
    ball = solid(ELLIPSOID, (0.0, 0.0, -3.0), (0.5, 0.5, 0.5))
    _, _, depth, index = look(ball, camera=camera)
    # The shift puts the principal point on the centre of pixel (23, 32).
    assert index[23, 32] == 1
    assert depth[23, 32] == pytest.approx(2.5, abs=1e-5)


def test_nothing_behind_the_camera_is_hit():
    behind = solid(BOX, (0.0, 0.0, 2.0), (9.0, 9.0, 0.0))
    ball = solid(ELLIPSOID, (0.0, 0.0, 1.0), (0.6, 0.6, 0.6))
    beam = solid(CAPSULE, (0.0, 1.0, 0.5), (0.1, 4.0, 0.1))
    _, _, depth, index = look(behind, ball, beam)
    assert (index == 0).all() and (depth > 0).all()


def distance_to(kind, local, half):
    """Signed distance (a lower bound for ellipsoids) of points ``(n, 3)`` in a solid's axes."""
    if kind == BOX:
        gap = np.abs(local) - half
        return np.linalg.norm(np.maximum(gap, 0), axis=1) + np.minimum(gap.max(1), 0)
    if kind == ELLIPSOID:
        return (np.linalg.norm(local / half, axis=1) - 1) * half.min()
    if kind == CYLINDER:
        gap = np.stack(
            [np.hypot(local[:, 0], local[:, 2]) - half[0], np.abs(local[:, 1]) - half[1]], 1
        )
        return np.linalg.norm(np.maximum(gap, 0), axis=1) + np.minimum(gap.max(1), 0)
    straight = half[1] - half[0]
    shifted = local.copy()
    shifted[:, 1] -= np.clip(local[:, 1], -straight, straight)
    return np.linalg.norm(shifted, axis=1) - half[0]


HALVES = {
    BOX: (0.5, 0.3, 0.7),
    ELLIPSOID: (0.6, 0.35, 0.5),
    CYLINDER: (0.4, 0.6, 0.4),
    CAPSULE: (0.2, 0.8, 0.2),
}


@pytest.mark.parametrize('kind', list(HALVES))
@pytest.mark.parametrize(
    'rotation',
    [IDENTITY, Frame.at(0, 0, 0, math.pi / 2).rotation, Frame.at(0, 0, 0, 0.7).rotation, 'tilted'],
)
def test_hits_and_misses_agree_with_signed_distance(kind, rotation):
    if rotation == 'tilted':
        axis = np.array([0.5, 0.7, -0.3]) / np.linalg.norm([0.5, 0.7, -0.3])
        rotation = rotation_to(tuple(axis))
    half = np.array(HALVES[kind])
    center = np.array([0.4, -0.2, -2.5])
    camera = Camera((0.1, 0.5, 0.2), 0.1, -0.15, 0.05)
    solids, rays, depth, index = look(
        solid(kind, tuple(center), tuple(half), rotation), camera=camera
    )
    turn = np.array(rotation).reshape(3, 3)
    direction = np.stack([d.ravel() for d in rays.direction], 1).astype(np.float64)
    origin = np.array(rays.origin)

    def sdf(t):
        points = origin + t[:, None] * direction
        return distance_to(kind, (points - center) @ turn, half)

    hit = index.ravel() == 1
    assert 100 < hit.sum() < hit.size
    at = depth.ravel().astype(np.float64)
    assert np.abs(sdf(at)[hit]).max() < 1e-4
    for t in np.linspace(0.05, 5.5, 300):
        inside = sdf(np.full(hit.size, t)) < -1e-4
        # No ray may be inside the solid before its hit, and rays that miss never are.
        assert not (inside & ~hit).any()
        assert not (inside & hit & (t < at - 1e-3)).any()

    surface = describe_surface(solids, rays, depth, index)
    normal = surface.normal.T[hit].astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-5)
    assert ((normal * direction[hit]).sum(1) < 1e-6).all()
    step = 1e-4
    local = (origin + at[:, None] * direction - center)[hit]
    gradient = np.stack(
        [
            distance_to(kind, (local + step * e) @ turn, half)
            - distance_to(kind, (local - step * e) @ turn, half)
            for e in np.eye(3)
        ],
        1,
    )
    gradient /= np.linalg.norm(gradient, axis=1, keepdims=True)
    # Central differences straddle edges; everywhere else they are the normal.
    assert np.quantile((gradient * normal).sum(1), 0.1) > 0.9999


def test_solid_that_reaches_behind_the_camera_is_seen_in_front():
    beam = solid(BOX, (0.5, -0.5, 0.0), (0.1, 0.1, 3.0))
    _, _, depth, index = look(beam)
    assert (index == 1).sum() > 50
    assert depth[index == 1].min() < 1.0


def test_projection_inverts_back_projection():
    camera = Camera((0, 0, 0), 0, 0, 0, zoom=1.1, shift=(0.02, -0.01))
    k = camera.intrinsics(SIZE)
    depth = np.random.default_rng(0).uniform(1, 5, SIZE).astype(np.float32)
    pixels, z = project(back_project(depth, k), k)
    np.testing.assert_allclose(z, depth, rtol=1e-6)
    np.testing.assert_allclose(pixels[..., 0], np.arange(64)[None].repeat(48, 0) + 0.5, atol=1e-3)
    np.testing.assert_allclose(
        pixels[..., 1], np.arange(48)[:, None].repeat(64, 1) + 0.5, atol=1e-3
    )


def test_camera_axes_are_right_up_and_back():
    rotation = Camera((0, 0, 0), 0, 0, 0).rotation()
    np.testing.assert_allclose(rotation, np.eye(3))
    left = Camera((0, 0, 0), math.pi / 2, 0, 0).rotation()
    np.testing.assert_allclose(-left[:, 2], [-1, 0, 0], atol=1e-12)
    up = Camera((0, 0, 0), 0, 0.3, 0).rotation()
    assert (-up[:, 2])[1] == pytest.approx(math.sin(0.3))
    turned = Camera((0, 0, 0), 0.5, -0.2, 0.1).rotation()
    np.testing.assert_allclose(turned @ turned.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turned) == pytest.approx(1)
