"""Signs and values of the conventions, on rooms that are rendered anew."""

from dataclasses import replace

import numpy as np
import pytest

from mmdense.conventions import (
    axis_to_ray_depth,
    back_project,
    pixel_rays,
    project,
    ray_to_axis_depth,
)
from mmdense.datasets.rooms import render_room
from mmdense.datasets.rooms.render import render_scene
from mmdense.datasets.rooms.scene import sample_scene
from mmdense.datasets.transforms import TaskAwareRandomScale, TaskAwareRotate
from mmdense.tasks import Depth, Normal
from mmdense.utils import ShapeError

SIZE = (96, 128)
FLOOR, CEILING, WALLS = 1, 2, (3, 4, 5, 6)


@pytest.fixture(scope='module')
def rooms():
    return [render_room(0, 'test', i, SIZE) for i in range(8)]


def look(scene, size=SIZE, **camera):
    """A scene through its first camera with some settings changed."""
    scene = replace(scene, cameras=(replace(scene.cameras[0], **camera), scene.cameras[1]))
    return render_scene(scene, size, 0, np.random.default_rng(0))


def level(index, **camera):
    return look(sample_scene(0, 2, index), pitch=0.0, roll=0.0, **camera)


def test_floors_face_up_and_ceilings_down():
    seen = [0, 0]
    for index in range(6):
        room = level(index)
        for number, (instance, sign) in enumerate(((FLOOR, 1), (CEILING, -1))):
            normals = room.gt['normal'][room.instances == instance]
            seen[number] += len(normals)
            # With a level camera up in the picture is up in the room.
            assert np.allclose(normals, (0, sign, 0), atol=1e-6)
    assert min(seen) > 500


def test_walls_on_the_left_face_right_and_the_far_wall_faces_the_camera():
    found = dict(left=0, right=0, far=0)
    for index in range(6):
        # Straight along the room, so that walls are at the sides and ahead.
        room = level(index, yaw=0.0)
        points = back_project(room.depth, room.intrinsics)
        for wall in WALLS:
            here = room.instances == wall
            if here.sum() < 20:
                continue
            normal, point = room.gt['normal'][here].mean(0), points[here].mean(0)
            side = 'far' if abs(normal[2]) > 0.9 else 'left' if point[0] < 0 else 'right'
            expected = dict(left=(1, 0, 0), right=(-1, 0, 0), far=(0, 0, 1))[side]
            assert np.allclose(normal, expected, atol=1e-5)
            found[side] += 1
    assert min(found.values()) >= 2


def test_normals_agree_with_neighbouring_depths(rooms):
    """Cross product of the steps to the pixels on the right and above."""
    angles = []
    for room in rooms:
        points = back_project(room.depth.astype(np.float64), room.intrinsics).astype(np.float64)
        right = points[1:, 1:] - points[1:, :-1]
        up = points[:-1, :-1] - points[1:, :-1]
        normal = np.cross(right, up)  # x times y is z in these axes: towards the camera
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        truth = room.gt['normal'][1:, :-1]
        same = np.ones(truth.shape[:2], bool)
        for rows, columns in ((slice(1, None), slice(1, None)), (slice(-1), slice(-1))):
            same &= room.instances[rows, columns] == room.instances[1:, :-1]
            same &= np.abs(room.gt['normal'][rows, columns] - truth).max(-1) < 1e-6
        cosine = (normal * truth).sum(-1)[same]
        angles.append(np.degrees(np.arccos(cosine.clip(-1, 1))))
    angles = np.concatenate(angles)
    assert len(angles) > 20000
    assert np.median(angles) < 0.1
    # Steps between parallel faces of one thing are no plane.
    assert (angles < 1).mean() > 0.95


@pytest.mark.parametrize('degrees', [20.0, -35.0])
def test_in_plane_rotation_is_what_a_rolled_camera_sees(degrees):
    """Turning the picture counter-clockwise is rolling the camera clockwise."""
    scene, size = sample_scene(0, 2, 3), (96, 96)
    angle = np.deg2rad(degrees)
    before = look(scene, size)
    after = look(scene, size, roll=scene.cameras[0].roll - angle)
    # By the definition, pixel by pixel: where each pixel of the turned picture came from.
    middle = size[0] / 2
    v, u = np.mgrid[: size[0], : size[1]] + 0.5
    x, y = u - middle, middle - v
    old_x = np.cos(angle) * x + np.sin(angle) * y
    old_y = -np.sin(angle) * x + np.cos(angle) * y
    column, row = np.floor(old_x + middle).astype(int), np.floor(middle - old_y).astype(int)
    inside = (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
    source = (row[inside], column[inside])
    turned = Normal().rotate(before.gt['normal'], angle)[source]
    truth = after.gt['normal'][inside]
    same = before.instances[source] == after.instances[inside]
    assert same.mean() > 0.9
    close = (turned * truth).sum(-1) > np.cos(np.deg2rad(2))
    assert close[same].mean() > 0.9
    wrong = Normal().rotate(before.gt['normal'], -angle)[source]
    assert ((wrong * truth).sum(-1) > np.cos(np.deg2rad(2)))[same].mean() < 0.3
    # Depth along the axis does not change under a roll.
    ratio = before.depth[source][same] / after.depth[inside][same]
    assert (np.abs(ratio - 1) < 0.03).mean() > 0.9
    # And the transform does the same as the definition.
    tasks = dict(normal=Normal())
    sample = dict(
        img=before.image, gt=dict(normal=before.gt['normal'].copy()), tasks=tasks,
        rng=np.random.default_rng(0), img_shape=size, ori_shape=size,
    )  # fmt: skip
    out = TaskAwareRotate((degrees, degrees), prob=1.0)(sample)['gt']['normal'][inside]
    known = (out != 0).any(-1)
    assert known.mean() > 0.98
    assert ((out * turned).sum(-1) > 0.999)[known].mean() > 0.95


def test_surfaces_of_a_mirrored_picture_face_the_camera_once_x_is_negated(rooms):
    flipped, kept = [], []
    for room in rooms:
        points = back_project(room.depth, room.intrinsics)
        # The lens of the first view looks through the middle: mirrored points lie at -x.
        assert room.intrinsics[0, 2] == SIZE[1] / 2
        mirrored = points[:, ::-1] * (-1, 1, 1)
        sideways = np.abs(room.gt['normal'][:, ::-1, 0]) > 0.9
        for normals, into in (
            (Normal().flip(room.gt['normal']), flipped),
            (room.gt['normal'][:, ::-1], kept),
        ):
            into.append(((normals * -mirrored).sum(-1) > -1e-4)[sideways])
    assert np.concatenate(flipped).mean() > 0.999
    assert np.concatenate(kept).mean() < 0.5


def test_flip_leaves_its_input_alone():
    """A picture of one column is its own mirror image, but not its own memory."""
    normals = np.array([[[1.0, 0.0, 0.0]]], np.float32)
    assert Normal().flip(normals).tolist() == [[[-1, 0, 0]]]
    assert normals.tolist() == [[[1, 0, 0]]]


FOCAL, BASELINE = 500.0, 0.2


def test_depth_kinds_follow_one_another_under_zoom():
    """Disparity and inverse depth of a zoomed depth are the zoomed disparity and inverse."""
    depth = np.random.default_rng(0).uniform(0.5, 8, (4, 5)).astype(np.float32)
    metric = Depth()
    disparity = Depth(kind='disparity_px', min_depth=0, max_depth=1e4)
    inverse = Depth(kind='inverse_norm', min_depth=0, max_depth=1e4)
    for factor in (0.5, 1.25, 2.0):
        zoomed = metric.zoom(depth, factor)
        assert np.allclose(zoomed, depth / factor)
        assert np.allclose(disparity.zoom(FOCAL * BASELINE / depth, factor),
                           FOCAL * BASELINE / zoomed, rtol=1e-5)  # fmt: skip
        assert np.allclose(inverse.zoom(1 / depth, factor), 1 / zoomed, rtol=1e-5)


def test_unknown_depth_stays_unknown_and_zero_disparity_is_infinity():
    cases = (
        (Depth(), 0.0, 0.0),
        (Depth(kind='disparity_px', min_depth=0, max_depth=80), -1.0, 0.0),
        (Depth(kind='inverse_norm', min_depth=0, max_depth=1), 0.0, 0.0),
    )
    for task, unknown, zero in cases:
        gt = np.array([[unknown, zero, 0.5]], np.float32)
        assert task.ignore_value == unknown
        for factor in (0.5, 3.0):
            assert task.zoom(gt, factor)[0, 0] == unknown
        assert not task.valid(gt)[0, 0]
        assert task.valid(gt)[0, 1] == (task.kind == 'disparity_px')
        assert task.valid(gt)[0, 2]


def test_zooming_the_lens_leaves_depth_alone(rooms):
    """A longer lens keeps depth; only a network that does not know it sees depth / s."""
    scene = sample_scene(0, 2, 0)
    near, far = look(scene, (64, 64)), look(scene, (64, 64), zoom=2 * scene.cameras[0].zoom)
    middle = near.depth[16:48, 16:48].repeat(2, 0).repeat(2, 1)
    same = near.instances[16:48, 16:48].repeat(2, 0).repeat(2, 1) == far.instances
    assert same.mean() > 0.8
    assert (np.abs(far.depth / middle - 1) < 0.05)[same].mean() > 0.95
    # Seen from closer by, by the factor 2, the same picture would be half as far.
    assert np.allclose(Depth().zoom(middle, 2.0), middle / 2)


def test_zoomed_depth_and_intrinsics_lift_to_the_scene_made_smaller(rooms):
    """The same shape, and so the same normals, at 1 / s of its size."""
    room, factor = rooms[0], 2
    tasks = dict(depth=Depth(), normal=Normal())
    sample = dict(
        img=room.image, gt=dict(depth=room.depth.copy(), normal=room.gt['normal'].copy()),
        tasks=tasks, rng=np.random.default_rng(0), img_shape=SIZE, ori_shape=SIZE,
        intrinsics=room.intrinsics.copy(),
    )  # fmt: skip
    out = TaskAwareRandomScale(scales=[float(factor)])(sample)
    found = back_project(out['gt']['depth'], out['intrinsics'])
    # The four pixels that a pixel became lie around its point.
    found = found.reshape(SIZE[0], factor, SIZE[1], factor, 3).mean((1, 3))
    assert np.allclose(found * factor, back_project(room.depth, room.intrinsics), atol=1e-4)
    assert out['depth_scale'] == 1 / factor
    kept = out['gt']['normal'].reshape(SIZE[0], factor, SIZE[1], factor, 3)
    assert np.array_equal(kept[:, 0, :, 1], room.gt['normal'])


def test_pixel_centres_are_at_half():
    k = np.array([[10.0, 0, 4], [0, 10, 3], [0, 0, 1]])
    x, y = pixel_rays(k, (6, 8))
    assert np.allclose(x, (np.arange(8) + 0.5 - 4) / 10)
    assert np.allclose(y, (3 - np.arange(6) - 0.5) / 10)
    # An even picture has no pixel on its axis; both halves mirror each other.
    assert np.allclose(x, -x[::-1])
    assert np.allclose(y, -y[::-1])
    assert y[0] > 0  # the first row is above the axis
    uv, _ = project(back_project(np.full((6, 8), 2.0, np.float32), k), k)
    assert np.allclose(uv[..., 0], np.arange(8)[None] + 0.5, atol=1e-6)
    assert np.allclose(uv[..., 1], np.arange(6)[:, None] + 0.5, atol=1e-6)


def test_depth_along_the_axis_and_along_the_ray(rooms):
    room = rooms[0]
    points = back_project(room.depth, room.intrinsics).astype(np.float64)
    distance = np.linalg.norm(points, axis=-1)
    found = axis_to_ray_depth(room.depth, room.intrinsics)
    assert np.allclose(found, distance, rtol=1e-5)
    assert np.allclose(ray_to_axis_depth(found, room.intrinsics), room.depth, rtol=1e-5)
    assert (found >= room.depth).all()
    assert (found > 1.05 * room.depth).mean() > 0.2  # no rounding: wide pictures differ a lot
    holes = np.zeros((2, 2), np.float32)
    assert not ray_to_axis_depth(holes, room.intrinsics).any()
    with pytest.raises(ShapeError, match='one map'):
        ray_to_axis_depth(np.zeros((1, 2, 2)), room.intrinsics)
