"""Conversion of NYU Depth V2 from files in the formats of its authors."""

import importlib
import pickle

import numpy as np
import pytest
from scipy.io import savemat

from mmdense.datasets import NYUDv2Dataset, NYUv2Dataset
from mmdense.datasets.nyudv2 import NYUD_CLASSES
from mmdense.datasets.nyuv2 import NYUV2_CLASSES
from mmdense.datasets.rooms.camera import back_project
from mmdense.datasets.sources import NYUDepthV2Source
from mmdense.datasets.sources.mat_file import MatFile
from mmdense.datasets.sources.nyu_depth_v2 import (
    CROP,
    FORTY_TO_THIRTEEN,
    INTRINSICS,
    annotation_boundaries,
)
from mmdense.datasets.writers import NYUDWriter, NYUv2Writer
from mmdense.datasets.writers.convert import convert
from mmdense.utils import DataError, MissingDependencyError

h5py = pytest.importorskip('h5py')
FRAMES, LABELS = 4, 50


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """The three files of the authors, with four frames and 50 labels."""
    folder = tmp_path_factory.mktemp('nyu')
    rng = np.random.default_rng(0)
    arrays = dict(
        images=rng.integers(0, 256, (480, 640, 3, FRAMES), dtype=np.uint8),
        depths=np.full((480, 640, FRAMES), 2, np.float32),
        labels=np.zeros((480, 640, FRAMES), np.uint16),
        instances=np.ones((480, 640, FRAMES), np.uint8),
    )
    for frame in range(FRAMES):
        arrays['depths'][..., frame] += frame
        arrays['labels'][:200, :, frame] = 1 + frame
        arrays['labels'][203:, :, frame] = LABELS
        arrays['instances'][203:, 320:, frame] = 2
    with h5py.File(folder / 'labeled.mat', 'w', userblock_size=512) as file:
        for name, array in arrays.items():
            # MATLAB 7.3 stores the dimensions in reverse.
            file.create_dataset(name, data=array.T, chunks=True)
        names = [f'thing {i}' for i in range(LABELS)]
        cells = []
        for i, name in enumerate(names):
            codes = np.frombuffer(name.encode(), np.uint8).astype(np.uint16)[:, None]
            cells.append(file.create_dataset(f'#refs#/{i}', data=codes).ref)
        file.create_dataset('names', data=np.array([cells], dtype=h5py.ref_dtype))
    with (folder / 'labeled.mat').open('r+b') as file:
        file.write(b'MATLAB 7.3 MAT-file'.ljust(124) + b'\x00\x02IM')
    savemat(folder / 'splits.mat', dict(trainNdxs=[[2], [4]], testNdxs=[[1], [3]]))
    mapping = 1 + np.arange(LABELS) % 40
    savemat(folder / 'mapping.mat', dict(mapClass=mapping[None]))
    forty = np.concatenate([[0], mapping])[arrays['labels']].astype(np.uint8)
    savemat(folder / 'labels40.mat', dict(labels40=forty), do_compression=True)
    return folder, arrays, forty


def files(folder, mapping='mapping.mat'):
    return folder / 'labeled.mat', folder / 'splits.mat', folder / mapping


def test_four_tasks_in_the_published_crop(source, tmp_path):
    folder, arrays, forty = source
    convert(NYUDepthV2Source(*files(folder)), NYUDWriter(tmp_path, 'npy'), show=False)
    tasks = dict(
        semseg=dict(type='SemSeg', num_classes=40),
        depth=dict(type='Depth'),
        normal=dict(type='Normal'),
        boundary=dict(type='Boundary'),
    )
    data = NYUDv2Dataset(tasks, data_root=str(tmp_path), ann_file='gt_sets/val.txt')
    assert [data[i]['sample_id'] for i in range(2)] == ['0001', '0003']
    # Rows 46 to 470 and columns 41 to 600, counted from 1.
    rows, columns = slice(45, 470), slice(40, 600)
    for index, frame in enumerate((0, 2)):
        sample = data[index]
        assert sample['img'].shape == (425, 560, 3)
        want = forty[rows, columns, frame].astype(int) - 1
        np.testing.assert_array_equal(sample['gt']['semseg'], np.where(want < 0, 255, want))
        np.testing.assert_array_equal(sample['gt']['depth'], arrays['depths'][rows, columns, frame])
        # A plane of constant depth faces the camera.
        normals = sample['gt']['normal'].reshape(-1, 3)
        np.testing.assert_allclose(normals, np.tile([0, 0, 1], (len(normals), 1)), atol=1e-5)
    # Where the two labels meet, the unlabelled strip between them is closed to one line.
    boundary = data[0]['gt']['boundary']
    assert boundary[:, 100].sum() == 1
    assert 200 - 45 - 1 <= boundary[:, 100].argmax() <= 203 - 45
    # The second instance of the lower label is bounded too.
    assert boundary[300, 320 - 40 - 1] == 1


def test_labels40_gives_the_same_labels(source):
    folder, _, _ = source
    one = NYUDepthV2Source(*files(folder), tasks=('semseg',))
    two = NYUDepthV2Source(*files(folder, 'labels40.mat'), tasks=('semseg',))
    for index in range(2):
        a, b = one.read('train', index), two.read('train', index)
        np.testing.assert_array_equal(a['gt']['semseg'], b['gt']['semseg'])
        assert a['sample_id'] == b['sample_id'] == ('0002', '0004')[index]


def test_thirteen_classes_in_small_arrays(source, tmp_path):
    folder, _, forty = source
    origin = NYUDepthV2Source(*files(folder), 13, (288, 384), tasks=NYUv2Writer.tasks)
    convert(origin, NYUv2Writer(tmp_path), workers=2, show=False)
    tasks = dict(semseg=dict(type='SemSeg', num_classes=13), depth=dict(type='Depth'))
    sample = NYUv2Dataset(tasks, data_root=str(tmp_path))[1]
    assert sample['img'].shape == (288, 384, 3)
    table = np.array([255, *(number - 1 for number in FORTY_TO_THIRTEEN)])
    # Row 10 of 288 is row 17 of 480.
    assert (sample['gt']['semseg'][10] == table[forty[17, 0, 3]]).all()
    assert set(np.unique(sample['gt']['depth'])) == {np.float32(5)}


def test_the_thirteen_classes_are_those_of_scenenet():
    for name, want in (
        ('wall', 'wall'), ('floor mat', 'floor'), ('bed', 'bed'), ('books', 'books'),
        ('ceiling', 'ceiling'), ('chair', 'chair'), ('dresser', 'furniture'), ('lamp', 'objects'),
        ('picture', 'picture'), ('sofa', 'sofa'), ('desk', 'table'), ('television', 'tv'),
        ('blinds', 'window'), ('door', 'wall'), ('night stand', 'furniture'),
    ):  # fmt: skip
        number = FORTY_TO_THIRTEEN[NYUD_CLASSES.index(name)]
        assert NYUV2_CLASSES[number - 1] == want, name
    assert len(FORTY_TO_THIRTEEN) == 40
    assert set(FORTY_TO_THIRTEEN) == set(range(1, 14))


def test_given_normals_are_taken(source, tmp_path):
    folder, _, _ = source
    rng = np.random.default_rng(1)
    whole = rng.normal(size=(480, 640, 3)).astype(np.float32)
    whole /= np.linalg.norm(whole, axis=-1, keepdims=True)
    np.save(tmp_path / '0002.npy', whole)
    np.save(tmp_path / '0004.npy', whole[CROP])
    found = NYUDepthV2Source(*files(folder), normals=tmp_path, tasks=('normal',))
    for index in range(2):
        got = found.read('train', index)['gt']['normal']
        np.testing.assert_allclose(got, whole[CROP], atol=1e-6)
    with pytest.raises(DataError, match=r'frame 0001 has no normals'):
        found.read('val', 0)


def test_the_principal_point_moves_with_the_crop(source):
    folder, _, _ = source
    intrinsics = NYUDepthV2Source(*files(folder), tasks=()).read('train', 0)['intrinsics']
    whole = back_project(np.full((480, 640), 3.0), INTRINSICS)
    cut = back_project(np.full((425, 560), 3.0), intrinsics)
    np.testing.assert_allclose(cut, whole[CROP], atol=1e-5)


def test_wide_gaps_stay_open():
    segments = np.zeros((20, 60), np.int32)
    segments[:, :20] = 256
    segments[:, 26:40] = 512
    found = annotation_boundaries(segments)
    assert found[10, :30].sum() == 1
    # The labelled part and the unlabelled rest, 20 pixels wide.
    assert found[10, 30:].sum() == 1


def test_missing_and_wrong_files_are_named(source, tmp_path):
    folder, _, _ = source
    with pytest.raises(DataError, match=r'nope.mat.* must be splits.mat'):
        NYUDepthV2Source(folder / 'labeled.mat', tmp_path / 'nope.mat', folder / 'mapping.mat')
    with pytest.raises(DataError, match=r"no variable 'trainNdxs'"):
        NYUDepthV2Source(folder / 'labeled.mat', folder / 'mapping.mat', folder / 'mapping.mat')
    with pytest.raises(DataError, match=r"expected 'mapClass'"):
        NYUDepthV2Source(folder / 'labeled.mat', folder / 'splits.mat', folder / 'splits.mat')
    savemat(tmp_path / 'short.mat', dict(mapClass=np.ones((1, 3))))
    short = NYUDepthV2Source(folder / 'labeled.mat', folder / 'splits.mat', tmp_path / 'short.mat')
    with pytest.raises(DataError, match=r'maps 3 labels, but frame 2 has label 50'):
        short.read('train', 0)
    savemat(tmp_path / 'far.mat', dict(trainNdxs=[[9]], testNdxs=[[1]]))
    with pytest.raises(DataError, match=r"'trainNdxs' names 1 frames from 9 to 9"):
        NYUDepthV2Source(folder / 'labeled.mat', tmp_path / 'far.mat', folder / 'mapping.mat')
    cut = tmp_path / 'cut.mat'
    cut.write_bytes((folder / 'labeled.mat').read_bytes()[:5000])
    with pytest.raises(DataError, match=r'cut.mat: is damaged'):
        NYUDepthV2Source(cut, folder / 'splits.mat', folder / 'mapping.mat')


def test_without_h5py_the_command_is_named(source, monkeypatch):
    folder, _, _ = source
    real = importlib.import_module

    def without(name, *args):
        if name == 'h5py':
            raise ImportError('no h5py')
        return real(name, *args)

    monkeypatch.setattr(importlib, 'import_module', without)
    with pytest.raises(MissingDependencyError, match='pip install h5py'):
        NYUDepthV2Source(*files(folder))


def test_both_formats_give_strings_and_survive_pickling(source, tmp_path):
    folder, arrays, _ = source
    labeled = MatFile(folder / 'labeled.mat', 'x')
    assert labeled.strings('names')[:2] == ['thing 0', 'thing 1']
    assert labeled.shape('images') == (480, 640, 3, FRAMES)
    copy = pickle.loads(pickle.dumps(labeled))
    np.testing.assert_array_equal(copy.page('images', 2), arrays['images'][..., 2])
    cell = np.empty((1, 2), object)
    cell[0] = ['wall', 'floor']
    savemat(tmp_path / 'v5.mat', dict(names=cell))
    assert MatFile(tmp_path / 'v5.mat', 'x').strings('names') == ['wall', 'floor']
