"""What holds for every data set: round trips, subsets of tasks, partial labels, damaged files."""

import pickle
import tarfile

import numpy as np
import pytest
import scipy.io
from PIL import Image
from torch.utils.data import DataLoader

from mmdense.utils import DataError

NAMES = ('nyud', 'nyuv2', 'pascal', 'cityscapes', 'cityscapes_small', 'taskonomy')


def assert_equals_truth(tree, dataset):
    assert [dataset[i]['sample_id'] for i in range(len(dataset))] == list(tree.truth)
    for i in range(len(dataset)):
        sample = dataset[i]
        expected = tree.truth[sample['sample_id']]
        assert np.array_equal(sample['img'], expected['img'])
        assert list(sample['gt']) == list(tree.tasks)
        for key, gt in sample['gt'].items():
            assert gt.dtype == dataset.tasks[key].dtype, key
            assert gt.flags.writeable, f'{key} is read-only: transforms write in place'
            assert np.allclose(gt, expected[key], rtol=0, atol=1e-6), key
            if np.issubdtype(gt.dtype, np.integer):
                assert np.array_equal(gt, expected[key]), key


def test_known_arrays_come_back(tree):
    assert_equals_truth(tree, tree.build(serialize_data=True))


def test_known_arrays_come_back_from_a_tar(tree, tmp_path):
    archive = tmp_path / 'all.tar'
    with tarfile.open(archive, 'w') as file:
        file.add(tree.root, '.')
    dataset = tree.build(root=archive, backend_args=dict(backend='tar_shards'))
    assert_equals_truth(tree, dataset)
    assert str(dataset[0]['img_path']).startswith(str(archive))


def identity(results):
    return dict(id=results['sample_id'], gt=results['gt'])


def test_workers_read_one_tar_together(make_tree, tmp_path):
    tree = make_tree('taskonomy')
    with tarfile.open(tmp_path / 'all.tar', 'w') as file:
        file.add(tree.root, '.')
    dataset = tree.build(
        root=tmp_path / 'all.tar', backend_args=dict(backend='tar_shards'), pipeline=[identity]
    )
    loader = DataLoader(dataset, batch_size=1, num_workers=2, collate_fn=list)
    for batch in list(loader) * 2:
        for sample in batch:
            depth = tree.truth[sample['id']]['depth']
            assert np.allclose(sample['gt']['depth'], depth, atol=1e-6)


def test_any_single_task_can_be_asked_for(tree):
    for key in tree.tasks:
        sample = tree.build([key])[0]
        assert list(sample['gt']) == [key]
        expected = tree.truth[sample['sample_id']][key]
        assert np.allclose(sample['gt'][key], expected, rtol=0, atol=1e-6)


def test_classes_and_axes_are_stated(tree):
    dataset = tree.build()
    assert dataset.metainfo['normal_axes'] == 'x-right y-up z-back'
    assert dataset.metainfo['depth_kind'] == getattr(
        dataset.tasks.get('depth'), 'kind', dataset.metainfo['depth_kind']
    )
    assert len(dataset.metainfo['classes']) == dataset.tasks['semseg'].num_channels
    if 'normal' in tree.tasks:
        up = 'down' if tree.cls.__name__ == 'TaskonomyDataset' else 'up'
        assert dataset.stored_axes == f'x-right y-{up} z-back'
        with pytest.raises(ValueError, match='normal_axes'):
            tree.build(normal_axes='right-up')


def test_a_missing_map_is_a_partial_label(tree):
    key = next(key for key in tree.tasks if key in ('semseg', 'boundary'))
    tree.files[key].unlink()
    dataset = tree.build()
    assert key not in dataset[0]['gt'] and key in dataset[1]['gt']


def test_a_task_without_any_file_is_refused_by_name(tree):
    key = next(iter(tree.tasks))
    for path in tree.root.rglob(f'*{tree.files[key].suffix}'):
        if tree.files[key].parent.name in path.parts[-3:]:
            path.unlink()
    if key == 'semseg' and (tree.root / 'gtFine').exists():
        for path in tree.root.rglob('*_labelIds.png'):
            path.unlink()
    for folder in ('adel', 'bow'):
        for path in (tree.root / folder / 'segment_semantic').glob('*'):
            path.unlink()
    with pytest.raises(DataError, match=rf"task '{key}' has no (file|ground truth)"):
        tree.build()


@pytest.mark.parametrize('name', ['nyud', 'pascal'])
def test_missing_pictures_are_counted_before_training(make_tree, name):
    tree = make_tree(name)
    tree.files['img'].unlink()
    with pytest.raises(DataError, match=r'1 of \d pictures of .* are not in'):
        tree.build()
    skipping = tree.build(on_error='skip', test_mode=True)
    assert skipping[0]['unreadable'] and len(skipping) == len(tree.truth)


def test_a_gap_in_numbered_pictures_is_a_missing_picture(make_tree):
    tree = make_tree('nyuv2')
    (tree.root / 'train/image/3.npy').unlink()
    with pytest.raises(DataError, match=r"1 of 11 pictures of 'train/image'.*'3'"):
        tree.build()


@pytest.mark.parametrize('on_error', ['raise', 'skip'])
def test_a_stray_number_is_no_list_of_millions(make_tree, on_error):
    tree = make_tree('nyuv2')
    (tree.root / 'train/image/3.npy').rename(tree.root / 'train/image/99999999999.npy')
    with pytest.raises(DataError, match=r"has 11 pictures, but '99999999999\.npy'"):
        tree.build(on_error=on_error)


def test_padded_numbers_are_not_the_published_names(make_tree):
    tree = make_tree('nyuv2')
    for path in (tree.root / 'train').glob('*/*.npy'):
        path.rename(path.with_stem(f'{int(path.stem):04d}'))
    with pytest.raises(DataError, match=r'has no pictures 0\.npy, 1\.npy'):
        tree.build()


# -- damage -------------------------------------------------------------------


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[2 * len(content) // 3] ^= 0xFF
    path.write_bytes(bytes(content))


def pickled(path):
    array = np.empty(2, object)
    array[:] = [Canary(str(path.with_suffix('.canary'))), 1]
    with path.open('wb') as file:
        np.save(file, array, allow_pickle=True)


class Canary:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, 'w'))


def text_array(path):
    with path.open('wb') as file:
        np.save(file, np.full((12, 16), 'wall'))


def huge_header(path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"
    header += b' ' * (117 - len(header)) + b'\n'
    path.write_bytes(b'\x93NUMPY\x01\x00' + len(header).to_bytes(2, 'little') + header + bytes(64))


def stored(make, dtype=None):
    """Damage that replaces the content; written in the form that the file has."""

    def damage(path):
        old = np.load(path) if path.suffix == '.npy' else None
        array = make(old)
        if path.suffix == '.mat':
            scipy.io.savemat(path, dict(LabelMap=array))
        elif path.suffix == '.npy':
            np.save(path, array.astype(dtype or old.dtype))
        else:
            import cv2

            cv2.imwrite(str(path), array.astype(dtype or np.uint8))

    return damage


def with_value(value):
    def make(old):
        array = old.copy()
        array[5, 6] = value
        return array

    return stored(make)


smaller = stored(lambda old: np.zeros((6, 8)) if old is None else old[:6, :8])

DAMAGE = {
    # what: (damage, words of the message, [(data set, task)])
    'cut': (
        cut,
        'cut off|not a complete|no MATLAB|damaged MATLAB|no camera file',
        [(name, key) for name in NAMES for key in ('img', 'semseg', 'depth')
         if (name, key) != ('pascal', 'depth')]
        + [('pascal', 'part'), ('pascal', 'boundary'), ('pascal', 'normal'), ('pascal', 'saliency'),
           ('nyud', 'normal'), ('nyuv2', 'normal'), ('cityscapes', 'camera'),
           ('taskonomy', 'reshading'), ('taskonomy', 'keypoints2d')],
    ),
    'altered': (
        flip_a_byte,
        'not a complete image|damaged MATLAB|no MATLAB',
        [('nyud', 'img'), ('cityscapes', 'depth'), ('pascal', 'semseg'), ('pascal', 'boundary'),
         ('taskonomy', 'normal')],
    ),
    'gone': (
        lambda path: path.unlink(),
        'does not exist',
        [(name, 'semseg') for name in NAMES] + [(name, 'img') for name in NAMES]
        + [('pascal', 'part'), ('taskonomy', 'keypoints3d')],
    ),
    'size': (
        smaller,
        r'\(6, 8\)',
        [(name, 'semseg') for name in NAMES]
        + [('nyud', 'boundary'), ('nyud', 'depth'), ('nyuv2', 'normal'), ('pascal', 'saliency'),
           ('pascal', 'boundary')],
    ),
    'range': (
        stored(lambda old: np.full((12, 16), 77)),
        r'77',
        [(name, 'semseg') for name in NAMES],
    ),
    'context': (
        stored(lambda old: np.full((12, 16), 460)),
        'labels run from 460 to 460',
        [('pascal', 'boundary')],
    ),
    'nan': (
        with_value(np.nan),
        'NaN|nan',
        [('nyud', 'depth'), ('nyuv2', 'depth'), ('cityscapes_small', 'depth'),
         ('nyuv2', 'img'), ('cityscapes_small', 'img')],
    ),
    'inf': (
        with_value(np.inf),
        'NaN or infinite',
        [('nyud', 'depth'), ('nyuv2', 'depth'), ('cityscapes_small', 'depth')],
    ),
    'negative': (
        with_value(-3.0),
        '-3',
        [('nyud', 'depth'), ('nyuv2', 'depth'), ('cityscapes_small', 'depth'),
         ('nyuv2', 'normal'), ('nyuv2', 'img')],
    ),
    'dtype': (
        stored(lambda old: np.zeros((12, 16)), np.uint8),
        'uint8',
        [('cityscapes', 'depth'), ('taskonomy', 'depth'), ('taskonomy', 'keypoints2d')],
    ),
    'text': (
        text_array,
        'expected integers or real numbers',
        [('nyud', 'depth'), ('nyuv2', 'semseg'), ('nyuv2', 'img'), ('cityscapes_small', 'depth')],
    ),
    'pickle': (
        pickled,
        'pickle',
        [('nyud', 'depth'), ('nyuv2', 'semseg'), ('nyuv2', 'img'), ('cityscapes_small', 'depth')],
    ),
    'huge': (
        huge_header,
        'the header states',
        [('nyud', 'depth'), ('nyuv2', 'normal'), ('cityscapes_small', 'semseg')],
    ),
}  # fmt: skip
CASES = [(what, name, key) for what, (_, _, where) in DAMAGE.items() for name, key in where]


@pytest.mark.parametrize(('what', 'name', 'key'), CASES)
def test_damage_ends_as_on_error_says(make_tree, what, name, key):
    tree = make_tree(name)
    damage, words, _ = DAMAGE[what]
    raising = tree.build()
    skipping = tree.build(on_error='skip', test_mode=True)
    path = tree.files[key]
    damage(path)
    with pytest.raises(DataError, match=words) as caught:
        raising[0]
    assert path.name in str(caught.value)
    assert skipping[0]['unreadable'] and skipping[0]['gt'] == {}
    assert list(skipping.error_counts.values()) == [2]
    assert 'unreadable' not in skipping[1]
    assert not list(tree.root.rglob('*.canary'))


@pytest.mark.parametrize('name', ['nyud', 'nyuv2', 'cityscapes'])
def test_a_picture_of_another_size_is_named(make_tree, name):
    tree = make_tree(name)
    path = tree.files['img']
    if path.suffix == '.npy':
        np.save(path, np.zeros((6, 8, 3)))
    else:
        Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(path)
    with pytest.raises(DataError, match=rf"the picture '.*{path.name}' \(6, 8\)"):
        tree.build()[0]


def test_the_canary_sings(tmp_path):
    """That the pickles above would have done harm where pickles are read."""
    pickled(tmp_path / 'a.npy')
    np.load(tmp_path / 'a.npy', allow_pickle=True)
    assert (tmp_path / 'a.canary').exists()
    with pytest.raises((ValueError, pickle.UnpicklingError)):
        np.load(tmp_path / 'a.npy')


def all_unknown(tree, save):
    """Make every map of the first picture unknown throughout, as far as its encoding can."""
    values = dict(
        NYUDv2Dataset=dict(semseg=np.zeros((12, 16), np.uint8), depth=np.zeros((12, 16))),
        NYUv2Dataset=dict(
            semseg=np.full((12, 16), -1), depth=np.zeros((12, 16, 1)), normal=np.zeros((12, 16, 3))
        ),
        PASCALContextDataset=dict(
            semseg=np.full((12, 16), 255, np.uint8),
            boundary=dict(LabelMap=np.zeros((12, 16), np.uint16)),
        ),
        CityscapesDataset=dict(
            semseg=np.zeros((12, 16), np.uint8), depth=np.zeros((12, 16), np.uint16)
        ),
        CityscapesSmallDataset=dict(semseg=np.full((12, 16), -1), depth=np.zeros((12, 16, 1))),
        TaskonomyDataset=dict(
            semseg=np.zeros((12, 16), np.uint8), depth=np.full((12, 16), 65535, np.uint16)
        ),
    )[tree.cls.__name__]
    for key, array in values.items():
        save(tree.files[key], array)
    return set(values) - {'boundary'}


def test_a_picture_without_any_known_pixel_is_legal(tree, save):
    keys = all_unknown(tree, save)
    dataset = tree.build(pipeline=[dict(type='mmdense.PackDenseInputs')])
    sample = dataset[0]['data_samples']
    for key in keys:
        task = dataset.tasks[key]
        assert not task.valid_mask(sample.gt(task)[None]).any(), key
