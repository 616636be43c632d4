"""Rooms written in every layout are what the renderer made."""

import cv2
import numpy as np
import pytest

from mmdense.datasets import (
    CITYSCAPES_CATEGORIES,
    CITYSCAPES_CLASSES,
    NYUD_CLASSES,
    PASCAL_CLASSES,
    TASKONOMY_CLASSES,
    CityscapesDataset,
    PASCALContextDataset,
    TaskonomyDataset,
)
from mmdense.datasets.pascal_context import context_boundaries
from mmdense.datasets.rooms.constants import CLASSES, DEPTH_RANGE, FOCAL
from mmdense.datasets.rooms.render import render_room
from mmdense.datasets.sources import RoomsSource
from mmdense.datasets.sources.image_domains import MAX_CURVATURE, curvature, reshading
from mmdense.datasets.sources.rooms import context_map, people
from mmdense.datasets.sources.rooms_mapping import BASELINE, CONTEXT, LAYOUTS, normal_categories
from mmdense.datasets.writers import CityscapesWriter, PASCALContextWriter, TaskonomyWriter
from mmdense.datasets.writers.cityscapes import MAX_DISPARITY
from mmdense.datasets.writers.convert import convert

SIZE = (96, 128)
WITH_PERSON = next(i for i in range(50) if people(render_room(0, 'train', i, SIZE)).sum() > 200)


@pytest.mark.parametrize('layout', LAYOUTS)
def test_classes_fit_the_layout_and_repeat(layout):
    source = RoomsSource(layout, dict(train=2), SIZE)
    first = source.read('train', 1)
    names = {
        'nyud': NYUD_CLASSES, 'nyud-mt': NYUD_CLASSES, 'nyuv2': CLASSES, 'pascal': PASCAL_CLASSES,
        'cityscapes': CITYSCAPES_CLASSES, 'cityscapes-small': CITYSCAPES_CATEGORIES,
        'taskonomy': TASKONOMY_CLASSES, 'folder': CLASSES,
    }[layout]  # fmt: skip
    found = np.unique(first['gt']['semseg'])
    assert found.max() < len(names)
    assert len(found) >= 3
    again = source.read('train', 1)
    for key, value in first['gt'].items():
        np.testing.assert_array_equal(again['gt'][key], value, key)
    assert len(LAYOUTS[layout].table) == len(CLASSES)


@pytest.mark.parametrize(
    ('layout', 'names', 'same'),
    [
        ('nyud', NYUD_CLASSES, ('bed', 'books', 'ceiling', 'chair', 'floor', 'picture', 'sofa',
                                'table', 'wall', 'window')),
        ('nyuv2', CLASSES, CLASSES),
        ('pascal', PASCAL_CLASSES, ('chair', 'sofa')),
        ('taskonomy', TASKONOMY_CLASSES, ('bed', 'chair', 'tv')),
    ],
)  # fmt: skip
def test_classes_of_the_same_name_stay_what_they_are(layout, names, same):
    for name in same:
        assert names[LAYOUTS[layout].table[CLASSES.index(name)]] == name


def test_people_are_people():
    room = render_room(0, 'train', WITH_PERSON, SIZE)
    for layout, names in (('nyud', NYUD_CLASSES), ('pascal', PASCAL_CLASSES)):
        source = RoomsSource(layout, dict(train=WITH_PERSON + 1), SIZE)
        labels = source.read('train', WITH_PERSON)['gt']['semseg']
        assert (labels[people(room)] == names.index('person')).all()
        assert not (labels[~people(room)] == names.index('person')).any()


def test_pascal_tree_reads_back(tmp_path):
    source = RoomsSource('pascal', dict(train=WITH_PERSON + 1), SIZE)
    convert(source, PASCALContextWriter(tmp_path, normal_categories()), show=False)
    tasks = dict(part=dict(type='Part'), normal=dict(type='Normal'), boundary=dict(type='Boundary'))
    data = PASCALContextDataset(tasks, data_root=str(tmp_path), test_mode=True)
    room = render_room(0, 'train', WITH_PERSON, SIZE)
    got = data[WITH_PERSON]
    np.testing.assert_array_equal(got['gt']['part'], room.gt['part'])
    context = context_map(room)
    np.testing.assert_array_equal(got['aux']['context'], context)
    np.testing.assert_array_equal(got['gt']['boundary'], context_boundaries(context))
    known = np.isin(context, list(normal_categories()))
    np.testing.assert_array_equal(got['gt']['normal'].any(-1), known)
    assert 0.5 < known.mean() < 1 or known.all()


def test_context_boundaries_are_borders_of_instances():
    room = render_room(0, 'train', WITH_PERSON, SIZE)
    context = context_map(room)
    assert context.min() > 0
    # Wherever the category changes the instance does; most borders of instances are kept.
    changes = context[:, 1:] != context[:, :-1]
    borders = room.instances[:, 1:] != room.instances[:, :-1]
    assert not (changes & ~borders).any()
    assert changes.sum() > 0.6 * borders.sum()
    assert 284 in context[people(room)]


def test_context_ids_have_one_name_each():
    pairs = [pair for categories in CONTEXT for pair in categories.items()]
    assert len({number for number, _ in pairs}) == len(pairs)
    assert all(1 <= number <= 459 for number, _ in pairs)
    # Numbers that the published rule names.
    assert dict(pairs)[440] == 'wall'
    assert dict(pairs)[158] == 'floor'
    assert dict(pairs)[72] == 'chair'
    assert dict(pairs)[397] == 'table'
    assert dict(pairs)[427] == 'tvmonitor'


def test_pascal_sizes_vary():
    source = RoomsSource('pascal', dict(train=6))
    assert len(set(source.sizes)) >= 4
    assert max(max(size) for size in source.sizes) <= 500


def test_cityscapes_disparity_gives_the_depth_back(tmp_path):
    convert(
        RoomsSource('cityscapes', dict(val=1), (128, 256)),
        CityscapesWriter(tmp_path, 'metric'),
        show=False,
    )
    tasks = dict(depth=dict(type='Depth'))
    kwargs = dict(data_root=str(tmp_path), split='val')
    sample = CityscapesDataset(tasks, depth_kind='metric', **kwargs)[0]
    room = render_room(0, 'val', 0, (128, 256))
    want, got = room.gt['depth'], sample['gt']['depth']
    np.testing.assert_array_equal(got == 0, want == 0)
    # Disparities of about 5 px in steps of 1/256.
    np.testing.assert_allclose(got, want, rtol=2e-3)
    np.testing.assert_allclose(sample['intrinsics'], room.intrinsics)


def test_full_size_disparities_fit_sixteen_bits():
    # The nearest depth that a room's depth map holds is half a metre.
    assert BASELINE * FOCAL * 2048 / DEPTH_RANGE[0] < MAX_DISPARITY


def test_small_cityscapes_is_the_stored_number(tmp_path):
    room = render_room(0, 'train', 0, (64, 128))
    found = RoomsSource('cityscapes-small', dict(train=1), (64, 128)).read('train', 0)
    stored = found['gt']['depth'] * 65535
    known = room.gt['depth'] > 0
    np.testing.assert_allclose(stored, np.rint(stored), atol=0.01)
    assert not stored[~known].any()
    disparity = (np.rint(stored[known]) - 1) / 256
    np.testing.assert_allclose(0.05 * 0.81 * 2048 / disparity, room.gt['depth'][known], rtol=1e-3)
    assert found['gt']['depth'].max() < 1


def test_taskonomy_tree_reads_back(tmp_path):
    convert(RoomsSource('taskonomy', dict(train=2), SIZE), TaskonomyWriter(tmp_path), show=False)
    tasks = dict(
        depth=dict(type='Depth'),
        reshading=dict(type='Reshading'),
        principal_curvature=dict(type='PrincipalCurvature'),
        keypoints2d=dict(type='Keypoints2D'),
        edge_texture=dict(type='EdgeTexture'),
    )
    data = TaskonomyDataset(tasks, data_root=str(tmp_path), ann_file='splits/tiny_train.txt')
    room = render_room(0, 'train', 1, SIZE)
    got = data[1]
    np.testing.assert_allclose(got['gt']['depth'], room.gt['depth'], atol=0.5 / 512 + 1e-6)
    assert got['gt']['keypoints2d'].max() == pytest.approx(1)
    assert 0 < got['gt']['edge_texture'].mean() < 0.2
    # A light at the camera: bright where a surface faces it.
    want = reshading(room.gt['normal'], room.intrinsics)
    np.testing.assert_allclose(got['gt']['reshading'], want, atol=0.5 / 255 + 1e-6)


def sphere(radius=0.5, distance=2.0, size=(61, 61), focal=150.0):
    """Depth and normals of a sphere before the camera, and where it is."""
    intrinsics = np.array([[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]])
    x = (np.arange(size[1]) + 0.5 - size[1] / 2) / focal
    y = -(np.arange(size[0]) + 0.5 - size[0] / 2) / focal
    ray = np.stack([*np.broadcast_arrays(x[None], y[:, None]), -np.ones(size)], axis=-1)
    along = (ray**2).sum(-1)
    half = distance * np.ones(size)
    inside = half**2 - along * (distance**2 - radius**2)
    hit = inside > 0
    depth = np.where(hit, (half - np.sqrt(np.maximum(inside, 0))) / along, distance)
    normals = (ray * depth[..., None] - [0, 0, -distance]) / radius
    normals[~hit] = (0, 0, 1)
    return depth, normals, intrinsics, hit


def test_curvature_of_a_sphere_is_one_over_its_radius():
    depth, normals, intrinsics, hit = sphere()
    found = curvature(normals, depth, intrinsics, np.zeros(depth.shape, np.uint8))
    middle = cv2.erode(hit.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
    assert middle.sum() > 100
    np.testing.assert_allclose(np.abs(found[middle]) * MAX_CURVATURE, 2, rtol=0.03)


def test_reshading_is_bright_where_the_surface_faces_the_camera():
    _, normals, intrinsics, _ = sphere()
    shade = reshading(normals, intrinsics)
    assert shade[30, 30] == pytest.approx(1, abs=1e-3)
    assert shade[30, 30] > shade[30, 45] > 0


def test_unknown_layouts_are_refused():
    with pytest.raises(ValueError, match="Did you mean 'nyuv2'"):
        RoomsSource('nyu2', {})
