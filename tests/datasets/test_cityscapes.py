import json

import numpy as np
import pytest

from mmdense.datasets import CITYSCAPES_CLASSES, CityscapesDataset
from mmdense.datasets.cityscapes import read_camera, train_ids
from mmdense.utils import DataError

METRIC = dict(depth=dict(type='Depth', max_depth=80))


def test_label_ids_become_the_nineteen_classes():
    ids = np.array([[-1, 0, 7, 8, 11, 12, 13, 17, 19, 23, 24, 33, 10, 29, 255]])
    expected = [255, 255, 0, 1, 2, 3, 4, 5, 6, 10, 11, 18, 255, 255, 255]
    assert train_ids(ids).tolist() == [expected]
    assert CITYSCAPES_CLASSES[10] == 'sky' and CITYSCAPES_CLASSES[11] == 'person'


def test_disparity_decodes_at_its_ends(make_tree):
    sample = make_tree('cityscapes').build(['depth'])[0]
    # Stored 0 unknown, 1 infinitely far, 2 a 256th of a pixel, 65535 the largest.
    assert sample['gt']['depth'][0, :4].tolist() == [-1, 0, 1 / 256, 65534 / 256]
    assert sample['tasks']['depth'].valid(sample['gt']['depth'])[0, :4].tolist() == [
        False, True, True, True,
    ]  # fmt: skip


def test_metric_depth_from_the_camera_file(make_tree):
    tree = make_tree('cityscapes')
    dataset = CityscapesDataset(METRIC, data_root=str(tree.root), depth_kind='metric')
    assert dataset.metainfo['depth_kind'] == 'metric'
    sample = dataset[0]
    stored = tree.truth[sample['sample_id']]['stored'].astype(float)
    disparity = (stored - 1) / 256
    expected = np.where(disparity > 0, 0.21 * 2262.5 / np.where(disparity > 0, disparity, 1), 0)
    assert np.allclose(sample['gt']['depth'], expected, rtol=1e-6)
    assert sample['gt']['depth'][0, :2].tolist() == [0, 0]
    expected = [[2262.5, 0, 1097.4], [0, 2265.3, 513.6], [0, 0, 1]]
    assert np.allclose(sample['intrinsics'], expected)


def test_metric_depth_needs_the_camera_and_disparity_does_not(make_tree):
    tree = make_tree('cityscapes')
    tree.files['camera'].unlink()
    dataset = CityscapesDataset(METRIC, data_root=str(tree.root), depth_kind='metric')
    assert 'depth' not in dataset[0]['gt'] and 'depth' in dataset[1]['gt']
    samples = [tree.build()[i] for i in range(2)]
    assert ['intrinsics' in sample for sample in samples] == [False, True]
    assert all('depth' in sample['gt'] for sample in samples)


def test_sky_may_be_infinitely_far(make_tree):
    tree = make_tree('cityscapes')
    expected = tree.truth['aachen/aachen_000000_000019']
    plain = expected['depth'].copy()
    # The label id of sky; 10, its number among the classes, is the label id of rail tracks.
    sky = expected['ids'] == 23
    assert (plain[sky] != 0).any() and (plain[expected['ids'] == 10] != 0).any()
    plain[sky] = 0
    gt = tree.build(['depth'], sky_disparity_zero=True)[0]['gt']['depth']
    assert np.allclose(gt, plain)
    tree.files['semseg'].unlink()
    assert 'depth' not in tree.build(['depth'], sky_disparity_zero=True)[0]['gt']


def test_disparities_of_a_smaller_size(make_tree):
    tree = make_tree('cityscapes')
    gt = tree.build(['depth'], disparity_scale=0.25)[0]['gt']['depth']
    stored = tree.truth['aachen/aachen_000000_000019']['stored'].astype(float)
    assert np.allclose(gt, np.where(stored == 0, -1, (stored - 1) / (256 * 4)))


def test_options_that_do_not_fit_are_refused(make_tree):
    tree = make_tree('cityscapes')
    root = dict(data_root=str(tree.root))
    with pytest.raises(ValueError, match='change disparities'):
        CityscapesDataset(METRIC, depth_kind='metric', sky_disparity_zero=True, **root)
    with pytest.raises(ValueError, match=r"'inverse_norm'; choose.*CityscapesSmallDataset"):
        CityscapesDataset(METRIC, depth_kind='inverse_norm', **root)
    with pytest.raises(ValueError, match=r"kind is 'metric', but CityscapesDataset reads 'disp"):
        CityscapesDataset(METRIC, **root)
    with pytest.raises(ValueError, match='must be positive'):
        tree.build(disparity_scale=0)
    with pytest.raises(DataError, match=r"split.*leftImg8bit/test', which does not exist"):
        tree.build(split='test')


@pytest.mark.parametrize(
    'content',
    ['', '{', '[]', '{"intrinsic": {}}', '{"extrinsic": {"baseline": null}, "intrinsic": {}}'],
)
def test_camera_files_that_are_none(tmp_path, content):
    (tmp_path / 'c.json').write_text(content)
    with pytest.raises(DataError, match=r'c\.json: (is no camera file|the file is empty)'):
        read_camera(str(tmp_path / 'c.json'))


@pytest.mark.parametrize('value', [0, -1, float('nan'), float('inf')])
def test_impossible_cameras(tmp_path, value):
    camera = dict(extrinsic=dict(baseline=0.2), intrinsic=dict(fx=value, fy=1, u0=0, v0=0))
    (tmp_path / 'c.json').write_text(json.dumps(camera))
    with pytest.raises(DataError, match=r'c\.json: has fx=.*positive'):
        read_camera(str(tmp_path / 'c.json'))


def test_other_label_pictures_are_refused(make_tree, save):
    tree = make_tree('cityscapes')
    save(tree.files['semseg'], np.full((12, 16), 24001, np.uint16))
    with pytest.raises(DataError, match=r'labelIds.png: holds the label ids \[24001\].*instanceId'):
        tree.build()[0]


@pytest.mark.parametrize(('number', 'name'), [(2, '1'), (7, 'construction'), (19, 'sidewalk')])
def test_label_folders_of_the_small_version(make_tree, save, number, name):
    tree = make_tree('cityscapes_small')
    label = np.arange(192).reshape(12, 16) % (number + 1) - 1
    for i in range(3):
        save(tree.root / f'train/label_{number}/{i}.npy', label)
    tree.tasks['semseg'] = dict(type='SemSeg', num_classes=number)
    dataset = tree.build(label_folder=f'label_{number}')
    assert np.array_equal(dataset[0]['gt']['semseg'], np.where(label < 0, 255, label))
    assert dataset.metainfo['classes'][1] == name
    tree.tasks['semseg'] = dict(type='SemSeg', num_classes=8)
    with pytest.raises(ValueError, match=r'num_classes is 8.*2, 7, 19 classes'):
        tree.build()


def test_inverse_depth_is_taken_as_it_is(make_tree, save):
    tree = make_tree('cityscapes_small')
    inverse = np.linspace(0, 32257 / 65535, 192, dtype=np.float32).reshape(12, 16, 1)
    save(tree.files['depth'], inverse)
    dataset = tree.build()
    assert np.array_equal(dataset[0]['gt']['depth'], inverse[..., 0])
    assert dataset.metainfo['depth_kind'] == 'inverse_norm'
    save(tree.files['depth'], inverse * 100)
    with pytest.raises(DataError, match=r'0.npy: inverse depth runs from 0 to 49.2.*CityscapesD'):
        dataset[0]
