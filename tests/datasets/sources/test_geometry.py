import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdense.datasets.rooms.camera import pixel_rays
from mmdense.datasets.rooms.render import render_room
from mmdense.datasets.sources.geometry import normals_from_depth

SIZE = (20, 26)
INTRINSICS = np.array([[30.0, 0, 12.2], [0, 28.0, 9.1], [0, 0, 1]])


def plane_depth(normal, distance):
    """Depth of the plane n . X = -distance in camera axes (z towards the camera)."""
    x, y = pixel_rays(INTRINSICS, SIZE)
    return -distance / (normal[0] * x[None] + normal[1] * y[:, None] - normal[2])


@settings(max_examples=25, deadline=None)
@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.5, 8))
def test_planes_are_exact_up_to_the_border(a, b, distance):
    normal = np.array([0.6 * a, 0.6 * b, 1.0])
    normal /= np.linalg.norm(normal)
    depth = plane_depth(normal, distance)
    found = normals_from_depth(depth, INTRINSICS)
    assert depth.min() > 0
    np.testing.assert_allclose(found, np.broadcast_to(normal, found.shape), atol=2e-3)


def test_unknown_depth_has_no_normal_and_spoils_no_neighbour():
    normal = np.array([0.3, 0.5, 0.8])
    normal /= np.linalg.norm(normal)
    depth = plane_depth(normal, 2.0)
    holes = np.random.default_rng(0).random(SIZE) < 0.3
    depth[holes] = 0
    found = normals_from_depth(depth, INTRINSICS)
    assert not found[holes].any()
    np.testing.assert_allclose(found[~holes] @ normal, 1, atol=1e-4)


def test_rooms_agree_with_their_exact_normals():
    room = render_room(0, 'val', 2, (96, 128))
    found = normals_from_depth(room.depth, room.intrinsics)
    angle = np.degrees(np.arccos(np.clip((found * room.gt['normal']).sum(-1), -1, 1)))
    # Away from edges and curved surfaces the fit is exact.
    assert np.median(angle) < 0.1
    assert (angle < 5).mean() > 0.7


@pytest.mark.parametrize('depth', [np.zeros(SIZE), np.full(SIZE, np.nan)])
def test_no_depth_gives_no_normals(depth):
    assert not normals_from_depth(depth, INTRINSICS).any()
