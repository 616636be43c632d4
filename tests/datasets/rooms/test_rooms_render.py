import hashlib
import subprocess
import sys

import numpy as np
import pytest

from mmdense.datasets.rooms import back_project, project, render_room
from mmdense.datasets.rooms.constants import CLASSES, SPLITS
from mmdense.datasets.rooms.scene import sample_scene

SIZE = (60, 80)


def digest(sample):
    h = hashlib.sha256()
    for name in ('image', 'depth', 'instances', 'intrinsics', 'pose'):
        h.update(getattr(sample, name).tobytes())
    for key in sorted(sample.gt):
        h.update(sample.gt[key].tobytes())
    return h.hexdigest()


def test_arrays_have_the_promised_shapes_types_and_ranges():
    for index in range(8):
        s = render_room(0, 'train', index, SIZE)
        assert s.image.shape == (*SIZE, 3) and s.image.dtype == np.uint8
        kinds = dict(semseg='u1', depth='f4', normal='f4', boundary='u1', saliency='u1', part='u1')
        assert set(s.gt) == set(kinds)
        for key, kind in kinds.items():
            assert s.gt[key].dtype == np.dtype(kind), key
            assert s.gt[key].shape == ((*SIZE, 3) if key == 'normal' else SIZE), key
        assert s.gt['semseg'].max() < len(CLASSES)
        assert set(np.unique(s.gt['boundary'])) <= {0, 1}
        assert set(np.unique(s.gt['saliency'])) <= {0, 1}
        assert np.isfinite(s.depth).all() and s.depth.min() > 0.3 and s.depth.max() < 12
        known = s.gt['depth'] > 0
        assert 0.6 < known.mean() <= 1
        np.testing.assert_array_equal(s.gt['depth'][known], s.depth[known])
        assert s.instances.dtype == np.uint16 and s.instances.min() >= 1
        assert s.intrinsics.shape == (3, 3) and s.pose.shape == (4, 4)


def test_parts_are_all_unknown_exactly_when_nobody_is_in_sight():
    seen = {True: 0, False: 0}
    for index in range(20):
        s = render_room(0, 'train', index, SIZE)
        people = sample_scene(0, SPLITS['train'], index).people
        visible = np.isin(s.instances, people)
        seen[bool(visible.any())] += 1
        if visible.any():
            assert s.gt['part'].max() <= 6
            np.testing.assert_array_equal(s.gt['part'] > 0, visible)
            assert (s.gt['semseg'][visible] == CLASSES.index('objects')).all()
        else:
            assert (s.gt['part'] == 255).all()
    assert min(seen.values()) >= 3


def test_normals_are_unit_and_face_the_camera():
    for index in range(6):
        s = render_room(1, 'val', index, SIZE)
        n = s.gt['normal'].astype(np.float64)
        np.testing.assert_allclose(np.linalg.norm(n, axis=-1), 1, atol=1e-5)
        toward = -back_project(s.depth, s.intrinsics) / s.depth[..., None]
        assert (n * toward).sum(-1).min() > -1e-5


def test_normals_agree_with_normals_from_exact_depth():
    angles, flat = [], []
    for index in range(4):
        s = render_room(0, 'train', index, (120, 160))
        p = back_project(s.depth, s.intrinsics).astype(np.float64)
        n = s.gt['normal'][1:-1, 1:-1].astype(np.float64)
        across, down = p[1:-1, 2:] - p[1:-1, :-2], p[2:, 1:-1] - p[:-2, 1:-1]
        # Rows run downwards, so down x across points to the camera in x right, y up, z back.
        derived = np.cross(down, across)
        derived /= np.linalg.norm(derived, axis=-1, keepdims=True)
        window = [s.gt['normal'][i : i - 2 or None, 1:-1] for i in (0, 1, 2)]
        window += [s.gt['normal'][1:-1, i : i - 2 or None] for i in (0, 1, 2)]
        plane = np.max([np.abs(w - n).max(-1) for w in window], 0) < 1e-6
        ids = s.instances
        same = (ids[1:-1, 2:] == ids[1:-1, :-2]) & (ids[2:, 1:-1] == ids[:-2, 1:-1])
        angle = np.degrees(np.arccos(np.clip((derived * n).sum(-1), -1, 1)))
        angles.append(angle[same])
        flat.append(angle[same & plane & (ids[1:-1, 1:-1] <= 6)])
    assert np.median(np.concatenate(angles)) < 0.5
    assert np.quantile(np.concatenate(angles), 0.9) < 5
    assert np.quantile(np.concatenate(flat), 0.99) < 0.1


def test_floor_normal_points_up_in_camera_axes():
    s = render_room(0, 'train', 0, SIZE)
    floor = s.instances == 1
    up = s.pose[:3, :3].T @ [0, 1, 0]
    np.testing.assert_allclose(
        s.gt['normal'][floor], np.broadcast_to(up, (floor.sum(), 3)), atol=1e-5
    )
    assert up[1] > 0.9


def test_same_arguments_give_the_same_bits_in_another_process_and_order():
    wanted = [(0, 'train', 3, 0), (0, 'val', 3, 0), (7, 'test', 11, 1)]
    here = [digest(render_room(a, b, c, SIZE, d)) for a, b, c, d in wanted]
    assert len(set(here)) == 3
    code = (
        'import sys; sys.path[:0] = sys.argv[1:];'
        'from test_rooms_render import digest, SIZE;'
        'from mmdense.datasets.rooms import render_room;'
        f'print([digest(render_room(a, b, c, SIZE, d)) for a, b, c, d in {wanted[::-1]}][::-1])'
    )
    folder = __file__.rsplit('/', 1)[0]
    out = subprocess.run(
        [sys.executable, '-c', code, folder, *[p for p in sys.path if p]],
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip() == str(here)


def test_splits_and_seeds_share_no_scene():
    rooms = [
        (sample_scene(seed, split, index).room, sample_scene(seed, split, index).cameras[0])
        for seed in (0, 1)
        for split in SPLITS.values()
        for index in range(12)
    ]
    assert len({room for room, _ in rooms}) == len({camera for _, camera in rooms}) == len(rooms)


@pytest.mark.parametrize('index', [0, 5, 9])
def test_scene_does_not_depend_on_resolution(index):
    small, large = (render_room(2, 'train', index, size) for size in ((48, 64), (144, 192)))
    # At three times the size, every third pixel has its centre on that of a small one.
    middle = (slice(1, None, 3), slice(1, None, 3))
    assert (small.instances == large.instances[middle]).mean() > 0.998
    same = small.instances == large.instances[middle]
    close = np.isclose(small.depth, large.depth[middle], rtol=1e-4)
    assert close[same].mean() > 0.998
    dots = (small.gt['normal'] * large.gt['normal'][middle]).sum(-1)
    assert (dots[same] > 0.999).mean() > 0.995
    difference = small.image.astype(int) - large.image[middle].astype(int)
    # Noise differs from size to size, colours do not.
    assert np.abs(np.median(difference)) <= 1
    assert np.abs(difference).mean() < 12
    np.testing.assert_array_equal(small.pose, large.pose)
    np.testing.assert_allclose(small.intrinsics[:2] * 3, large.intrinsics[:2])


def test_second_view_shows_the_same_scene_from_its_own_pose():
    agreement = []
    for index in range(6):
        a, b = (render_room(0, 'val', index, (96, 128), view) for view in (0, 1))
        assert not np.array_equal(a.pose, b.pose)
        assert not np.array_equal(a.intrinsics, b.intrinsics)
        assert 0.03 < np.linalg.norm(a.pose[:3, 3] - b.pose[:3, 3]) < 0.5
        world = back_project(a.depth, a.intrinsics) @ a.pose[:3, :3].T + a.pose[:3, 3]
        pixels, z = project((world - b.pose[:3, 3]) @ b.pose[:3, :3], b.intrinsics)
        column, row = np.floor(pixels[..., 0]).astype(int), np.floor(pixels[..., 1]).astype(int)
        inside = (z > 0) & (column >= 0) & (column < 128) & (row >= 0) & (row < 96)
        assert inside.mean() > 0.5
        seen = b.depth[row[inside], column[inside]]
        agreement.append(np.abs(seen / z[inside] - 1) < 0.02)
        same = b.instances[row[inside], column[inside]] == a.instances[inside]
        assert same.mean() > 0.8
    assert np.concatenate(agreement).mean() > 0.88


def test_every_class_occurs_often():
    pixels, pictures, count = np.zeros(13), np.zeros(13), 120
    for index in range(count):
        shares = np.bincount(
            render_room(0, 'train', index, (48, 64)).gt['semseg'].ravel(), minlength=13
        )
        pixels += shares / shares.sum() / count
        pictures += (shares > 0) / count
    assert dict(zip(CLASSES, pictures >= 0.25)) == dict.fromkeys(CLASSES, True)
    assert dict(zip(CLASSES, pixels >= 0.009)) == dict.fromkeys(CLASSES, True)


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        ((0, 'dev', 0, SIZE), "split is 'dev'.*train, val, test"),
        ((-1, 'train', 0, SIZE), 'seed is -1'),
        ((0, 'train', 2**32, SIZE), 'index is 4294967296'),
        ((0, 'train', 0, (4, 64)), r'size is \(4, 64\)'),
        ((0, 'train', 0, SIZE, 2), 'view is 2, expected 0 or 1'),
    ],
)
def test_wrong_arguments_are_named(arguments, text):
    with pytest.raises(ValueError, match=text):
        render_room(*arguments)


@pytest.mark.parametrize('size', [(8, 8), (37, 53), (90, 30)])
def test_any_size_renders(size):
    assert render_room(0, 'train', 1, size).image.shape == (*size, 3)
