import numpy as np

from mmdense.datasets.rooms import render_room
from mmdense.datasets.rooms.annotations import (
    find_boundaries,
    find_holes,
    find_salient,
    label_parts,
)
from mmdense.datasets.rooms.constants import CLASSES
from mmdense.datasets.rooms.surface import Surface
from mmdense.datasets.rooms.textures import Paint


def test_boundaries_equal_a_brute_force_search():
    sample = render_room(0, 'train', 4, (40, 56))
    ids = sample.instances
    height, width = ids.shape
    expected = np.zeros_like(sample.gt['boundary'])
    for y in range(height):
        for x in range(width):
            for dy, dx in ((0, 1), (1, 0), (1, 1)):
                if y + dy < height and x + dx < width and ids[y, x] != ids[y + dy, x + dx]:
                    expected[y, x] = 1
    np.testing.assert_array_equal(sample.gt['boundary'], expected)
    assert 0.02 < expected.mean() < 0.5


def test_walls_and_floor_are_told_apart_by_boundaries():
    ids = np.array([[3, 4], [3, 4], [1, 1]], np.uint16)
    assert find_boundaries(ids).tolist() == [[1, 0], [1, 1], [0, 0]]


def salient(depth, people=()):
    """Two squares on a wall (1): instance 2 in the middle, instance 3 at the left border."""
    ids = np.ones((40, 60), np.uint16)
    ids[14:26, 24:36] = 2
    ids[14:26, 0:12] = 3
    z = np.full(ids.shape, 4.0, np.float32)
    z[ids == 2], z[ids == 3] = depth
    chosen = find_salient(ids, z, [2, 3], list(people))
    return {i for i in (1, 2, 3) if chosen[ids == i].all()}


def test_saliency_prefers_the_centre_then_nearness_and_always_people():
    assert salient((2.0, 2.0)) == {2}
    assert salient((4.0, 1.0)) == {3}
    assert salient((2.0, 2.0), people=[3]) == {2, 3}


def test_saliency_ignores_the_room_and_specks():
    ids = np.ones((40, 60), np.uint16)
    ids[0, 0] = 2
    assert not find_salient(ids, np.ones(ids.shape, np.float32), [2], []).any()


def test_salient_pixels_are_neither_room_nor_picture():
    for index in range(6):
        sample = render_room(0, 'val', index, (48, 64))
        labels = set(sample.gt['semseg'][sample.gt['saliency'] == 1].tolist())
        room = {CLASSES.index(n) for n in ('ceiling', 'floor', 'picture', 'wall', 'window')}
        assert not labels & room


def flat_surface(depth, cosine=1.0):
    """A surface whose rays are parallel to the axis, at a given angle to them."""
    n = depth.size
    direction = np.zeros((3, n), np.float32)
    direction[2] = -1
    normal = np.zeros_like(direction)
    normal[2], normal[0] = cosine, np.sqrt(1 - cosine**2)
    zero = np.zeros(n, np.float32)
    surface = Surface(
        index=np.zeros(n, np.intp),
        depth=depth.ravel(),
        direction=direction,
        point=direction * depth.ravel(),
        local=direction,
        face=np.full(n, 2, np.uint8),
        normal=normal,
        uv=np.zeros((2, n), np.float32),
    )
    painted = Paint(np.zeros((3, n), np.float32), zero, zero.astype(bool), zero + 0.5)
    return surface, painted


def test_projector_shadow_lies_on_the_left_of_near_things_and_is_as_wide_as_the_disparity_jump():
    depth = np.full((4, 100), 4.0, np.float32)
    depth[:, 40:60] = 1.0
    focal = 200.0
    holes = find_holes(*flat_surface(depth), depth.shape, focal)
    # 200 px * 0.075 m * (1 / 1 m - 1 / 4 m) = 11.25 px, less half a pixel of tolerance.
    assert np.flatnonzero(holes[0]).tolist() == list(range(30, 40))
    assert (holes == holes[0]).all()


def test_holes_outside_the_range_and_at_grazing_angles():
    depth = np.array([[0.3, 2.0, 8.0, 9.5]], np.float32).repeat(2, 0)
    holes = find_holes(*flat_surface(depth), depth.shape, 1.0)
    assert holes[0].tolist() == [True, False, False, True]
    flat = np.full((2, 4), 2.0, np.float32)
    assert find_holes(*flat_surface(flat, 0.05), flat.shape, 1.0).all()
    assert not find_holes(*flat_surface(flat, 0.3), flat.shape, 1.0).any()


def test_parts_without_people_are_unknown():
    index = np.array([[0, 1], [1, 2]])
    assert label_parts(np.array([0, 0, 0], np.uint8), index).tolist() == [[255, 255], [255, 255]]
    assert label_parts(np.array([0, 0, 3], np.uint8), index).tolist() == [[0, 0], [0, 3]]
