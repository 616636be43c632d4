import cv2
import numpy as np
import pytest

from mmdense.datasets import TaskonomyDataset
from mmdense.utils import DataError

ALL = dict(
    semseg=dict(type='SemSeg', num_classes=17),
    depth=dict(type='Depth', max_depth=128.0),
    normal=dict(type='Normal'),
)
SIZE = (6, 7)
SUFFIX = dict(segment_semantic='segmentsemantic')


def write_tree(root, layout='{building}/{domain}', buildings=('adel', 'bow'), views=2):
    """A tiny Taskonomy; returns sample id to what is stored."""
    rng = np.random.default_rng(0)
    stored = {}
    for building in buildings:
        for view in range(views):
            maps = dict(
                rgb=rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8),
                depth_zbuffer=rng.integers(1, 65535, SIZE).astype(np.uint16),
                normal=rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8),
                segment_semantic=rng.integers(0, 18, SIZE).astype(np.uint8),
            )
            maps['depth_zbuffer'][0, :2] = 65535
            for domain, value in maps.items():
                folder = root / layout.format(building=building, domain=domain)
                folder.mkdir(parents=True, exist_ok=True)
                name = f'point_{view}_view_0_domain_{SUFFIX.get(domain, domain)}.png'
                bgr = value[..., ::-1] if value.ndim == 3 else value
                cv2.imwrite(str(folder / name), bgr)
            stored[f'{building}/point_{view}_view_0'] = maps
    return stored


@pytest.mark.parametrize('layout', ['{building}/{domain}', '{domain}/taskonomy/{building}'])
def test_round_trip(tmp_path, layout):
    stored = write_tree(tmp_path, layout)
    dataset = TaskonomyDataset(
        ALL, data_root=str(tmp_path), buildings=['adel', 'bow'], layout=layout
    )
    assert len(dataset) == 4
    for i in range(4):
        sample = dataset[i]
        maps = stored[sample['sample_id']]
        assert np.array_equal(sample['img'], maps['rgb'])
        raw = maps['depth_zbuffer']
        assert np.array_equal(sample['gt']['depth'], np.where(raw == 65535, 0, raw / 512))
        labels = maps['segment_semantic'].astype(int)
        assert np.array_equal(sample['gt']['semseg'], np.where(labels == 0, 255, labels - 1))
        normal = (2.0 * maps['normal'] / 255 - 1) * [1, -1, 1]
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        normal[raw == 65535] = 0
        assert np.allclose(sample['gt']['normal'], normal, atol=1e-5)
        assert sample['gt']['depth'].dtype == np.float32


def test_normals_are_masked_by_depth_even_if_depth_is_no_task(tmp_path):
    write_tree(tmp_path)
    tasks = dict(normal=dict(type='Normal'))
    kwargs = dict(data_root=str(tmp_path), buildings=['adel'])
    masked = TaskonomyDataset(tasks, **kwargs)[0]
    assert list(masked['gt']) == ['normal']
    assert (masked['gt']['normal'][0, :2] == 0).all()
    plain = TaskonomyDataset(tasks, mask_normals=False, **kwargs)[0]
    assert (plain['gt']['normal'][0, :2] != 0).any()


def test_split_by_list_and_missing_domains(tmp_path):
    write_tree(tmp_path)
    (tmp_path / 'bow/normal/point_1_view_0_domain_normal.png').unlink()
    (tmp_path / 'val.txt').write_text('bow\n')
    dataset = TaskonomyDataset(ALL, data_root=str(tmp_path), ann_file='val.txt')
    assert [sorted(dataset[i]['gt']) for i in range(2)] == [
        ['depth', 'normal', 'semseg'],
        ['depth', 'semseg'],
    ]


def test_regenerated_labels(tmp_path):
    write_tree(tmp_path, buildings=('adel',), views=1)
    folder = tmp_path / 'adel/segment_kmax'
    folder.mkdir()
    labels = np.arange(42, dtype=np.uint8).reshape(SIZE)
    labels[0, 0] = 255
    cv2.imwrite(str(folder / 'point_0_view_0_domain_segment_kmax.png'), labels)
    dataset = TaskonomyDataset(
        dict(semseg=dict(type='SemSeg', num_classes=133)),
        data_root=str(tmp_path),
        buildings=['adel'],
        semseg_domain='segment_kmax',
    )
    assert np.array_equal(dataset[0]['gt']['semseg'], labels)


def test_errors_name_building_domain_and_remedy(tmp_path):
    write_tree(tmp_path)
    root = dict(data_root=str(tmp_path))
    with pytest.raises(
        DataError, match=r"1 of 2 buildings, 'cosmos'.*no pictures in .*cosmos/rgb.*omnitools"
    ):
        TaskonomyDataset(ALL, buildings=['adel', 'cosmos'], **root)
    with pytest.raises(ValueError, match='give one of them'):
        TaskonomyDataset(ALL, **root)
    tasks = dict(semseg=dict(type='SemSeg', num_classes=133))
    with pytest.raises(DataError, match=r"'semseg' has no file of domain 'segment_x'"):
        TaskonomyDataset(tasks, buildings=['adel'], semseg_domain='segment_x', **root)
    with pytest.raises(ValueError, match=r'133.*17 classes'):
        TaskonomyDataset(tasks, buildings=['adel'], **root)
    cv2.imwrite(
        str(tmp_path / 'adel/depth_zbuffer/point_0_view_0_domain_depth_zbuffer.png'),
        np.zeros(SIZE, np.uint8),
    )
    with pytest.raises(DataError, match=r'depth_zbuffer.png: depth is uint8.*1/512'):
        TaskonomyDataset(ALL, buildings=['adel'], **root)[0]
