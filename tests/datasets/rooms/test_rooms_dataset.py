import numpy as np
import pytest

from mmdense.datasets.rooms import RoomsDataset, back_project, project
from mmdense.datasets.rooms.constants import CLASSES, PARTS
from mmdense.registry import DATASETS

SIZE = (48, 64)
TASKS = dict(
    semseg=dict(type='SemSeg', num_classes=13),
    depth=dict(type='Depth'),
    normal=dict(type='Normal'),
    boundary=dict(type='Boundary'),
    saliency=dict(type='Saliency'),
    part=dict(type='Part'),
)


def build(**kwargs):
    return DATASETS.build(
        {'type': 'RoomsDataset', 'tasks': TASKS, 'length': 4, 'size': SIZE, **kwargs}
    )


def test_samples_hold_picture_ground_truth_and_camera():
    data = build()
    assert len(data) == 4
    sample = data[1]
    assert sample['img'].shape == (*SIZE, 3)
    assert list(sample['gt']) == list(TASKS)
    assert sample['ori_shape'] == SIZE
    assert sample['sample_id'] == 'rooms-0-train-000001'
    assert sample['intrinsics'].shape == (3, 3) and sample['pose'].shape == (4, 4)
    assert 'second_view' not in sample


def test_ground_truth_passes_the_checks_of_the_tasks():
    data = build()
    for index in range(4):
        for key, gt in data[index]['gt'].items():
            data.tasks[key].check(gt, 'here')


def test_only_the_asked_tasks_are_handed_out():
    assert list(build(tasks=dict(edge=dict(type='Boundary')))[0]['gt']) == ['boundary']


def test_scenes_do_not_depend_on_length_or_cache(tmp_path):
    plain = build(length=3)[2]
    cached = build(length=9, cache_dir=str(tmp_path))
    for sample in (cached[2], cached[2]):
        np.testing.assert_array_equal(sample['img'], plain['img'])
        for key in TASKS:
            np.testing.assert_array_equal(sample['gt'][key], plain['gt'][key])
    assert len(list(tmp_path.rglob('*.room'))) == 1


def test_splits_and_seeds_differ():
    pictures = [
        build(split=s, seed=n)[0]['img'].tobytes() for s in ('train', 'val') for n in (0, 1)
    ]
    assert len(set(pictures)) == 4


def test_second_view_sees_what_the_first_sees():
    sample = build(second_view=True)[0]
    other = sample['second_view']
    assert list(other['gt']) == list(TASKS)
    known = sample['gt']['depth'] > 0
    points = back_project(sample['gt']['depth'], sample['intrinsics'])[known]
    world = points @ sample['pose'][:3, :3].T + sample['pose'][:3, 3]
    pixels, z = project((world - other['pose'][:3, 3]) @ other['pose'][:3, :3], other['intrinsics'])
    column, row = np.floor(pixels).astype(int).T
    inside = (column >= 0) & (column < SIZE[1]) & (row >= 0) & (row < SIZE[0])
    seen = other['gt']['depth'][row[inside], column[inside]]
    close = np.abs(seen / z[inside] - 1) < 0.03
    assert close[seen > 0].mean() > 0.8


def test_metainfo_names_classes_and_conventions():
    meta = build().metainfo
    assert meta['classes'] == CLASSES and len(meta['palette']) == 13
    assert meta['task_classes']['part'] == PARTS
    assert meta['normal_axes'] == 'x-right y-up z-back'


def test_class_count_of_the_task_must_fit():
    with pytest.raises(ValueError, match='num_classes is 40, but RoomsDataset has 13'):
        build(tasks=dict(semseg=dict(type='SemSeg', num_classes=40)))


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (dict(length=0), '`length` is 0'),
        (dict(split='trainval'), "split is 'trainval'"),
        (dict(size=(0, 64)), r'size is \(0, 64\)'),
        (dict(seed=-3), 'seed is -3'),
    ],
)
def test_wrong_settings_are_named(change, text):
    with pytest.raises(ValueError, match=text):
        RoomsDataset(**{'tasks': TASKS, 'length': 4, 'size': SIZE, **change})
