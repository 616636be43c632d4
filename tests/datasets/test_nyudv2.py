import cv2
import numpy as np
import pytest

from mmdense.datasets import NYUDv2Dataset
from mmdense.utils import DataError

ALL = dict(
    semseg=dict(type='SemSeg', num_classes=40),
    depth=dict(type='Depth'),
    normal=dict(type='Normal'),
    edge=dict(type='Boundary'),
)
SIZE = (6, 8)
FOLDERS = dict(semseg='segmentation', depth='depth', normal='normals', boundary='edge')


def write_tree(root, packaging, stems=('0001', '0002', '0003', '0004')):
    """A tiny NYUD-v2 in one packaging; returns stem to what must be read."""
    rng = np.random.default_rng(0)
    for folder in ('images', 'segmentation', 'depth', 'normals', 'edge', 'gt_sets'):
        (root / folder).mkdir(parents=True, exist_ok=True)
    truth = {}
    for stem in stems:
        img = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        labels = rng.integers(0, 41, SIZE).astype(np.uint8)
        depth = rng.uniform(0.5, 9.9, SIZE).astype(np.float32)
        depth[0, 0] = 0
        normal = rng.normal(size=(*SIZE, 3)).astype(np.float32)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        edge = rng.integers(0, 2, SIZE).astype(np.uint8)
        cv2.imwrite(str(root / f'segmentation/{stem}.png'), labels)
        np.save(root / f'depth/{stem}.npy', depth)
        if packaging == 'npy':
            normal[1, 1] = 0
            cv2.imwrite(str(root / f'images/{stem}.jpg'), img[..., ::-1])
            img = cv2.imread(str(root / f'images/{stem}.jpg'))[..., ::-1]
            np.save(root / f'normals/{stem}.npy', normal)
            np.save(root / f'edge/{stem}.npy', edge.astype(np.float64))
        else:
            cv2.imwrite(str(root / f'images/{stem}.png'), img[..., ::-1])
            stored = np.rint((normal + 1) * 127.5).astype(np.uint8)
            cv2.imwrite(str(root / f'normals/{stem}.png'), stored[..., ::-1])
            cv2.imwrite(str(root / f'edge/{stem}.png'), edge * 255)
        truth[stem] = dict(
            img=img,
            semseg=np.where(labels == 0, 255, labels - 1.0),
            depth=depth,
            normal=normal,
            boundary=edge,
        )
    (root / 'gt_sets/train.txt').write_text('\n'.join(stems[:3]) + '\n')
    (root / 'gt_sets/val.txt').write_text(stems[3] + '\n')
    return truth


@pytest.mark.parametrize('packaging', ['npy', 'png'])
def test_round_trip_of_both_packagings(tmp_path, packaging):
    truth = write_tree(tmp_path, packaging)
    dataset = NYUDv2Dataset(ALL, data_root=str(tmp_path))
    assert len(dataset) == 3
    assert len(dataset.metainfo['classes']) == 40
    for i in range(3):
        sample = dataset[i]
        expected = truth[sample['sample_id']]
        assert np.array_equal(sample['img'], expected['img'])
        for key in ('semseg', 'depth', 'boundary'):
            assert np.array_equal(sample['gt'][key], expected[key]), key
        tolerance = 1e-6 if packaging == 'npy' else 8e-3
        assert np.allclose(sample['gt']['normal'], expected['normal'], atol=tolerance)
    assert dataset[0]['tasks']['normal'].valid(dataset[0]['gt']['normal'])[1, 1] == (
        packaging == 'png'
    )


def test_split_and_normal_axes(tmp_path):
    truth = write_tree(tmp_path, 'npy')
    dataset = NYUDv2Dataset(
        dict(normal=dict(type='Normal')),
        data_root=str(tmp_path),
        ann_file='gt_sets/val.txt',
        normal_axes='x-right y-down z-front',
    )
    expected = truth['0004']['normal'] * [1, -1, -1]
    assert np.allclose(dataset[0]['gt']['normal'], expected, atol=1e-6)


def test_depth_in_millimetres(tmp_path):
    write_tree(tmp_path, 'png')
    for path in (tmp_path / 'depth').iterdir():
        path.unlink()
    stored = np.arange(48, dtype=np.uint16).reshape(SIZE) * 200
    for stem in ('0001', '0002', '0003'):
        cv2.imwrite(str(tmp_path / f'depth/{stem}.png'), stored)
    dataset = NYUDv2Dataset(dict(depth=dict(type='Depth')), data_root=str(tmp_path))
    assert np.allclose(dataset[0]['gt']['depth'], stored / 1000)


def test_a_missing_label_file_is_a_partial_label(tmp_path):
    write_tree(tmp_path, 'png')
    (tmp_path / 'normals/0002.png').unlink()
    dataset = NYUDv2Dataset(ALL, data_root=str(tmp_path))
    assert sorted(dataset[0]['gt']) == ['boundary', 'depth', 'normal', 'semseg']
    assert sorted(dataset[1]['gt']) == ['boundary', 'depth', 'semseg']


def test_missing_pictures_are_counted_at_build(tmp_path):
    write_tree(tmp_path, 'png')
    (tmp_path / 'images/0002.png').unlink()
    with pytest.raises(DataError, match=r"1 of 3 pictures.*images.*'0002'.*NYUD-v2"):
        NYUDv2Dataset(ALL, data_root=str(tmp_path))
    dataset = NYUDv2Dataset(ALL, data_root=str(tmp_path), on_error='skip', test_mode=True)
    assert len(dataset) == 3 and dataset[1]['unreadable']


def test_a_task_without_any_file_fails_at_build(tmp_path):
    write_tree(tmp_path, 'png')
    for path in (tmp_path / 'edge').iterdir():
        path.unlink()
    with pytest.raises(
        DataError, match=r"'boundary' has no ground truth in .*edge.*\.npy or \.png"
    ):
        NYUDv2Dataset(ALL, data_root=str(tmp_path))


def test_wrong_label_maps_and_missing_roots_say_what_to_do(tmp_path):
    write_tree(tmp_path, 'png')
    cv2.imwrite(str(tmp_path / 'segmentation/0001.png'), np.full(SIZE, 300, np.uint16))
    with pytest.raises(DataError, match=r'0001.png: labels run from 300 to 300.*894'):
        NYUDv2Dataset(ALL, data_root=str(tmp_path))[0]
    with pytest.raises(DataError, match=r"data_root.*'/no/nyud'.*multi-task packaging"):
        NYUDv2Dataset(ALL, data_root='/no/nyud')
    with pytest.raises(DataError, match=r'ann_file.*gt_sets/test.txt'):
        NYUDv2Dataset(ALL, data_root=str(tmp_path), ann_file='gt_sets/test.txt')
