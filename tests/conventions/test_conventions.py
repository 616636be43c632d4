"""What docs/conventions.md promises, on rendered rooms and on the transforms."""

import numpy as np
import pytest
import torch

from mmdense.datasets.rooms import render_room
from mmdense.datasets.transforms import TaskAwareFlip, TaskAwareResize
from mmdense.structures import DenseFeatures
from mmdense.tasks import build_tasks

SIZE = (96, 128)


@pytest.fixture(scope='module')
def rooms():
    return [render_room(seed=0, split='val', index=i, size=SIZE) for i in range(6)]


def lift(depth, intrinsics):
    """Camera points (x right, y up, z towards the camera) by the page's projection."""
    height, width = depth.shape
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    fx, fy, cx, cy = (intrinsics[i] for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return np.stack([(u - cx) * depth / fx, -(v - cy) * depth / fy, -depth], axis=-1)


def test_floor_points_up_and_lies_below_the_camera(rooms):
    floor_class = rooms_classes().index('floor')
    seen = 0
    for room in rooms:
        floor = room.gt['semseg'] == floor_class
        if floor.sum() < 50:
            continue
        seen += 1
        normal = room.gt['normal'][floor]
        # The camera is nearly level: most floor pixels have y as their largest component.
        assert np.median(normal[:, 1]) > 0.8
        assert lift(room.depth, room.intrinsics)[floor][:, 1].max() < 0
    assert seen >= 3


def rooms_classes():
    from mmdense.datasets import RoomsDataset

    return list(RoomsDataset.METAINFO['classes'])


def test_normals_are_unit_vectors_that_face_the_camera(rooms):
    for room in rooms:
        normal = room.gt['normal'].astype(np.float64)
        assert np.allclose(np.linalg.norm(normal, axis=-1), 1, atol=1e-5)
        points = lift(room.depth.astype(np.float64), room.intrinsics)
        assert ((normal * -points).sum(-1) > -1e-4).mean() > 0.999


def test_depth_is_along_the_axis_so_that_planes_lift_to_planes(rooms):
    """Neighbouring points of one plane differ by vectors at right angles to its normal."""
    angles = []
    for room in rooms:
        points = lift(room.depth.astype(np.float64), room.intrinsics)
        step = points[:, 1:] - points[:, :-1]
        same = (room.instances[:, 1:] == room.instances[:, :-1]) & (
            np.abs(room.gt['normal'][:, 1:] - room.gt['normal'][:, :-1]).max(-1) < 1e-6
        )
        cosine = (step * room.gt['normal'][:, 1:]).sum(-1) / np.linalg.norm(step, axis=-1)
        angles.append(np.abs(np.degrees(np.arcsin(cosine[same].clip(-1, 1)))))
    assert np.median(np.concatenate(angles)) < 0.1


def test_points_of_one_view_land_in_the_other(rooms):
    other = render_room(seed=0, split='val', index=0, size=SIZE, view=1)
    room = rooms[0]
    points = lift(room.depth.astype(np.float64), room.intrinsics).reshape(-1, 3)
    world = points @ room.pose[:3, :3].T + room.pose[:3, 3]
    seen = (world - other.pose[:3, 3]) @ other.pose[:3, :3]
    depth = -seen[:, 2]
    u = other.intrinsics[0, 0] * seen[:, 0] / depth + other.intrinsics[0, 2]
    v = other.intrinsics[1, 2] - other.intrinsics[1, 1] * seen[:, 1] / depth
    inside = (depth > 0) & (u >= 0) & (u < SIZE[1]) & (v >= 0) & (v < SIZE[0])
    found = other.depth[v[inside].astype(int), u[inside].astype(int)]
    assert inside.mean() > 0.5
    assert (np.abs(found / depth[inside] - 1) < 0.03).mean() > 0.8


def sample_of(room):
    tasks = build_tasks(dict(depth=dict(type='Depth'), normal=dict(type='Normal')))
    return dict(
        img=room.image, gt={key: room.gt[key].copy() for key in tasks}, tasks=tasks,
        rng=np.random.default_rng(0), ori_shape=SIZE, img_shape=SIZE,
        intrinsics=room.intrinsics.copy(),
    )  # fmt: skip


def test_flip_mirrors_all_and_negates_x_of_normals(rooms):
    out = TaskAwareFlip(prob=1.0)(sample_of(rooms[0]))
    assert np.array_equal(out['img'], rooms[0].image[:, ::-1])
    expected = rooms[0].gt['normal'][:, ::-1] * np.asarray([-1, 1, 1], np.float32)
    assert np.array_equal(out['gt']['normal'], expected)


def test_sizes_are_height_width_and_resizing_leaves_values(rooms):
    out = TaskAwareResize(size=(48, 32))(sample_of(rooms[0]))
    assert out['img'].shape == (48, 32, 3)
    assert out['gt']['depth'].shape == (48, 32)
    assert np.isin(out['gt']['depth'], rooms[0].gt['depth']).all()


def test_odd_widths_align_corners():
    assert DenseFeatures(image_size=(480, 641)).align_corners
    assert not DenseFeatures(image_size=(481, 640)).align_corners


def test_bilinear_resizing_of_even_inputs_uses_pixel_centres():
    from mmdense.models.losses.functional import resize

    ramp = torch.arange(4.0).view(1, 1, 1, 4) + 0.5
    assert torch.allclose(
        resize(ramp, (1, 8), align_corners=False)[0, 0, 0, 1:-1], torch.arange(1, 7) / 2 + 0.25
    )
