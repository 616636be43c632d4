"""PASCAL-Context, Cityscapes and Taskonomy from files in the formats of their makers."""

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from mmdense.datasets import (
    CITYSCAPES_CATEGORIES,
    PASCAL_CLASSES,
    CityscapesSmallDataset,
    PASCALContextDataset,
    TaskonomyDataset,
)
from mmdense.datasets.pascal_normals import normal_categories
from mmdense.datasets.sources import (
    CityscapesSource,
    PASCALContextSource,
    PASCALFolders,
    TaskonomySource,
)
from mmdense.datasets.sources.cityscapes import label_table, list_pictures, regroup
from mmdense.datasets.sources.pascal_context import read_nyu_names, voc_table
from mmdense.datasets.sources.taskonomy import resize_stored
from mmdense.datasets.writers import (
    AnnotatedObject,
    CityscapesSmallWriter,
    PASCALContextWriter,
    TaskonomyWriter,
)
from mmdense.datasets.writers.convert import convert
from mmdense.datasets.writers.encode import mat_bytes
from mmdense.datasets.writers.pascal_context import part_annotation
from mmdense.utils import DataError

# -- PASCAL-Context -----------------------------------------------------------

CONTEXT_NAMES = {
    2: 'aeroplane', 23: 'bicycle', 25: 'bird', 31: 'boat', 34: 'bottle', 45: 'bus', 59: 'car',
    65: 'cat', 72: 'chair', 98: 'cow', 397: 'table', 113: 'dog', 207: 'horse', 258: 'motorbike',
    284: 'person', 308: 'pottedplant', 347: 'sheep', 368: 'sofa', 416: 'train', 427: 'tvmonitor',
    360: 'sky', 431: 'unknown', 440: 'wall',
}  # fmt: skip
SIZE = (20, 30)


@pytest.fixture
def pascal(tmp_path):
    rng = np.random.default_rng(0)
    folders = {
        name: tmp_path / 'source' / name
        for name in ('images', 'context', 'parts', 'normals', 'saliency', 'lists')
    }
    for folder in folders.values():
        folder.mkdir(parents=True)
    maps = {}
    for name in ('2008_000001', '2008_000002', '2008_000003'):
        cv2.imwrite(
            str(folders['images'] / f'{name}.jpg'), rng.integers(0, 255, (*SIZE, 3), np.uint8)
        )
        maps[name] = rng.choice(list(CONTEXT_NAMES), SIZE).astype(np.uint16)
        savemat(folders['context'] / f'{name}.mat', dict(LabelMap=maps[name]))
        mask = np.ones(SIZE, bool)
        person = AnnotatedObject('person', 15, mask, [('head', mask), ('lfoot', maps[name] > 300)])
        (folders['parts'] / f'{name}.mat').write_bytes(mat_bytes(part_annotation(name, [person])))
        for kind in ('normals', 'saliency'):
            shape = (*SIZE, 3) if kind == 'normals' else SIZE
            cv2.imwrite(str(folders[kind] / f'{name}.png'), rng.integers(0, 255, shape, np.uint8))
    (folders['lists'] / 'train.txt').write_text('2008_000003\n2008_000001\n')
    (folders['lists'] / 'val.txt').write_text('2008_000002\n')
    return folders, maps


def pascal_source(folders, **changes):
    named = {k: folders[k] for k in ('context', 'parts', 'normals', 'saliency')}
    lists = {split: folders['lists'] / f'{split}.txt' for split in ('train', 'val')}
    return PASCALContextSource(
        PASCALFolders(folders['images'], **{**named, **changes}), lists, CONTEXT_NAMES
    )


def test_pascal_is_put_together(pascal, tmp_path):
    folders, maps = pascal
    ids = normal_categories(CONTEXT_NAMES, {'wall', 'person', 'chair'})
    root = tmp_path / 'out'
    writer = PASCALContextWriter(root, {number: CONTEXT_NAMES[number] for number in ids})
    convert(pascal_source(folders), writer, show=False)
    tasks = dict(
        semseg=dict(type='SemSeg', num_classes=21),
        part=dict(type='Part'),
        normal=dict(type='Normal'),
        saliency=dict(type='Saliency'),
        boundary=dict(type='Boundary'),
    )
    data = PASCALContextDataset(tasks, data_root=str(root), test_mode=True)
    assert [data[i]['sample_id'] for i in range(2)] == ['2008_000003', '2008_000001']
    got, context = data[0], maps['2008_000003']
    np.testing.assert_array_equal(got['aux']['context'], context)
    np.testing.assert_array_equal(got['gt']['part'], np.where(context > 300, 6, 1))
    np.testing.assert_array_equal(
        got['gt']['normal'].any(-1), np.isin(context, (440, 284, 72, 427))
    )
    for number, name in CONTEXT_NAMES.items():
        want = {'table': 11, 'sky': 0, 'wall': 0, 'unknown': 255}.get(name)
        want = PASCAL_CLASSES.index(name) if want is None else want
        assert (got['gt']['semseg'][context == number] == want).all(), name
    # Files are copied as they are.
    picture = '2008_000002.jpg'
    assert (root / 'JPEGImages' / picture).read_bytes() == (
        folders['images'] / picture
    ).read_bytes()


def test_given_labels_win_over_derived_ones(pascal, tmp_path):
    folders, maps = pascal
    labels = tmp_path / 'labels'
    labels.mkdir()
    cv2.imwrite(str(labels / '2008_000001.png'), np.full(SIZE, 7, np.uint8))
    source = pascal_source(folders, semseg=labels)
    convert(source, PASCALContextWriter(tmp_path / 'out'), show=False)
    read = {
        name: cv2.imread(str(tmp_path / f'out/semseg/VOC12/{name}.png'), cv2.IMREAD_UNCHANGED)
        for name in maps
    }
    assert (read['2008_000001'] == 7).all()
    np.testing.assert_array_equal(
        read['2008_000002'], voc_table(CONTEXT_NAMES)[maps['2008_000002']]
    )


def test_missing_and_damaged_pascal_files_are_named(pascal, tmp_path):
    folders, _ = pascal
    normal = folders['normals'] / '2008_000002.png'
    normal.write_bytes(normal.read_bytes()[:-8])
    with pytest.raises(DataError, match=r'2008_000002.png: is missing, empty or cut short'):
        convert(pascal_source(folders), PASCALContextWriter(tmp_path / 'out'), show=False)
    normal.unlink()
    with pytest.raises(DataError, match=r"1 of 3 pictures have no file of 'normal'"):
        pascal_source(folders)
    assert 'normal' not in pascal_source(folders, normals=None).tasks


def test_labels_need_all_categories():
    names = {number: name for number, name in CONTEXT_NAMES.items() if name != 'sofa'}
    with pytest.raises(DataError, match="have no 'sofa'"):
        voc_table(names)


def test_nyu_names_from_text_and_mat(tmp_path):
    (tmp_path / 'names.txt').write_text('wall\nair conditioner\n')
    assert read_nyu_names(tmp_path / 'names.txt') == {'wall', 'air conditioner'}
    cell = np.empty((1, 2), object)
    cell[0] = ['wall', 'floor mat']
    savemat(tmp_path / 'mapping.mat', dict(allClassName=cell, mapClass=[[1, 2]]))
    assert read_nyu_names(tmp_path / 'mapping.mat') == {'wall', 'floor mat'}
    savemat(tmp_path / 'other.mat', dict(x=1))
    with pytest.raises(DataError, match="expected 'allClassName' or 'names'"):
        read_nyu_names(tmp_path / 'other.mat')


# -- Cityscapes ---------------------------------------------------------------


def write_official(root, split, names, size=(64, 128)):
    rng = np.random.default_rng(len(names))
    ids = np.arange(34, dtype=np.uint8)
    for name in names:
        city = name.split('_')[0]
        labels = np.repeat(np.repeat(rng.choice(ids, (8, 16)), 8, 0), 8, 1)
        disparity = rng.integers(0, 32258, size).astype(np.uint16)
        image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        for folder, ending, value in (
            ('leftImg8bit', 'leftImg8bit.png', image),
            ('gtFine', 'gtFine_labelIds.png', labels),
            ('disparity', 'disparity.png', disparity),
        ):
            path = root / folder / split / city / f'{name}_{ending}'
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), value)
        camera = root / 'camera' / split / city / f'{name}_camera.json'
        camera.parent.mkdir(parents=True, exist_ok=True)
        camera.write_text('{}')


NAMES = ['aachen_000001_000019', 'bochum_000000_000313', 'aachen_000000_000019']


@pytest.mark.parametrize('classes', [2, 7, 19])
def test_cityscapes_shrinks(tmp_path, classes):
    write_official(tmp_path / 'full', 'train', NAMES)
    source = CityscapesSource(tmp_path / 'full', ['train'], (16, 32), classes)
    writer = CityscapesSmallWriter(tmp_path / 'small', f'label_{classes}', classes)
    convert(source, writer, show=False)
    tasks = dict(
        semseg=dict(type='SemSeg', num_classes=classes),
        depth=dict(type='Depth', kind='inverse_norm', min_depth=0, max_depth=1),
    )
    data = CityscapesSmallDataset(
        tasks, data_root=str(tmp_path / 'small'), label_folder=f'label_{classes}'
    )
    assert len(data) == 3
    name = sorted(NAMES)[0]
    folder = tmp_path / 'full'
    ids = cv2.imread(str(folder / f'gtFine/train/aachen/{name}_gtFine_labelIds.png'), -1)
    stored = cv2.imread(str(folder / f'disparity/train/aachen/{name}_disparity.png'), -1)
    image = cv2.imread(str(folder / f'leftImg8bit/train/aachen/{name}_leftImg8bit.png'))
    gt = data[0]['gt']
    np.testing.assert_array_equal(gt['semseg'], label_table(classes)[ids[2::4, 2::4]])
    np.testing.assert_allclose(gt['depth'], stored[2::4, 2::4] / 65535, atol=1e-6)
    mean = image[..., ::-1].reshape(16, 4, 32, 4, 3).mean((1, 3))
    assert np.abs(data[0]['img'] - mean).max() <= 0.6


def test_seven_classes_are_the_official_categories():
    seven = label_table(7)
    for number, name in {7: 'flat', 10: 'flat', 11: 'construction', 17: 'object', 21: 'nature',
                         23: 'sky', 25: 'human', 33: 'vehicle', 29: 'vehicle'}.items():  # fmt: skip
        assert CITYSCAPES_CATEGORIES[seven[number]] == name
    assert (seven[[0, 1, 6, 34, 255]] == 255).all()
    two = label_table(2)
    assert two[[24, 26, 7, 23]].tolist() == [1, 1, 0, 0]
    np.testing.assert_array_equal(two == 255, seven == 255)
    labels = np.array([0, 10, 18, 255], np.uint8)
    assert regroup(labels, 7).tolist() == [0, 4, 6, 255]
    with pytest.raises(ValueError, match='2, 7 or 19'):
        label_table(8)


def test_missing_cityscapes_files_are_named(tmp_path):
    with pytest.raises(DataError, match='no pictures in'):
        list_pictures(tmp_path, 'train')
    write_official(tmp_path, 'train', NAMES)
    (tmp_path / 'disparity/train/bochum/bochum_000000_000313_disparity.png').unlink()
    with pytest.raises(DataError, match=r'1 of 3 pictures .*bochum_000000_000313_disparity'):
        CityscapesSource(tmp_path, ['train'])
    grey = tmp_path / 'disparity/train/bochum/bochum_000000_000313_disparity.png'
    cv2.imwrite(str(grey), np.zeros((64, 128), np.uint8))
    with pytest.raises(DataError, match='expected 16-bit'):
        CityscapesSource(tmp_path, ['train']).read('train', 2)


# -- Taskonomy ----------------------------------------------------------------


def write_buildings(root, buildings=('adel', 'bow'), size=(32, 32)):
    rng = np.random.default_rng(1)
    for building in buildings:
        for view in range(2):
            depth = np.full(size, 1024, np.uint16)
            depth[:, :12] = 65535
            normal = np.tile(np.array([255, 128, 128], np.uint8), (*size, 1))
            normal[:, :12] = (0, 255, 128)
            values = dict(
                rgb=rng.integers(0, 256, (*size, 3), dtype=np.uint8),
                depth_zbuffer=depth,
                normal=normal[..., ::-1],
                segment_semantic=rng.integers(0, 18, size).astype(np.uint8),
                keypoints2d=rng.integers(0, 65536, size).astype(np.uint16),
            )
            for domain, value in values.items():
                path = root / building / domain / f'point_{view}_view_3_domain_{domain}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), value)
    table = root / 'train_val_test_tiny.csv'
    table.write_text('id,train,val,test\nadel,1,0,0\nbow,0,1,0\ncorozal,0,0,1\n')
    return table


TASKS = dict(
    semseg=dict(type='SemSeg', num_classes=17),
    depth=dict(type='Depth', max_depth=128.0),
    normal=dict(type='Normal'),
    keypoints2d=dict(type='Keypoints2D'),
)


def test_taskonomy_in_half_the_size(tmp_path):
    table = write_buildings(tmp_path / 'full')
    source = TaskonomySource(tmp_path / 'full', table, size=(16, 16), skip_missing=True)
    assert source.missing == ['corozal']
    convert(source, TaskonomyWriter(tmp_path / 'half'), show=False)
    data = TaskonomyDataset(TASKS, data_root=str(tmp_path / 'half'), ann_file='splits/tiny_val.txt')
    assert [data[i]['sample_id'] for i in range(2)] == ['bow/point_0_view_3', 'bow/point_1_view_3']
    gt = data[0]['gt']
    assert gt['depth'].shape == (16, 16)
    # 65535 mixes with nothing.
    assert set(np.unique(gt['depth'])) == {0, 2}
    np.testing.assert_array_equal(gt['depth'] == 0, np.arange(16)[None].repeat(16, 0) < 6)
    # Nor do the meaningless normals of pixels without geometry.
    np.testing.assert_allclose(gt['normal'][:, 6:, 0], 1, atol=0.01)
    folder = tmp_path / 'full/bow'
    labels = cv2.imread(
        str(folder / 'segment_semantic/point_0_view_3_domain_segment_semantic.png'), -1
    )
    assert set(np.unique(gt['semseg'])) <= set((np.unique(labels) - 1).astype(np.uint8))


def test_taskonomy_lists_beside_the_buildings_leave_them_alone(tmp_path):
    table = write_buildings(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob('*.png')}
    source = TaskonomySource(tmp_path, table, domains=[], skip_missing=True)
    done = convert(source, TaskonomyWriter(tmp_path), show=False)
    assert done.written == 0
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob('*.png')} == before
    line = (tmp_path / 'index' / 'adel.txt').read_text().splitlines()[0].split()
    assert line == ['point_0_view_3', 'depth_zbuffer', 'keypoints2d', 'normal', 'rgb',
                    'segment_semantic']  # fmt: skip
    data = TaskonomyDataset(TASKS, data_root=str(tmp_path), ann_file='splits/tiny_train.txt')
    assert len(data) == 2


def test_missing_buildings_and_domains_are_named(tmp_path):
    table = write_buildings(tmp_path)
    with pytest.raises(DataError, match=r'1 buildings .*corozal/rgb'):
        TaskonomySource(tmp_path, table)
    with pytest.raises(DataError, match="domain 'depth' cannot be copied"):
        TaskonomySource(tmp_path, table, domains=['depth'], skip_missing=True)


def test_normals_are_averaged_over_known_pixels_and_unit():
    stored = np.zeros((2, 2, 3), np.uint8)
    stored[0], stored[1] = (255, 128, 128), (128, 128, 255)
    depth = np.full((2, 2), 100, np.uint16)
    mean = resize_stored('normal', stored, (1, 1), depth)[0, 0] / 127.5 - 1
    np.testing.assert_allclose(mean, [np.sqrt(0.5), 0, np.sqrt(0.5)], atol=0.01)
    depth[1] = 65535
    alone = resize_stored('normal', stored, (1, 1), depth)[0, 0] / 127.5 - 1
    np.testing.assert_allclose(alone, [1, 0, 0], atol=0.01)
