import shutil
import tarfile

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdense.datasets import TaskonomyDataset
from mmdense.datasets.taskonomy_views import ViewList, read_view_index, write_view_index
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


# -- regression targets, ray depth ----------------------------------------------


def test_zero_and_full_scale_of_every_encoding(make_tree):
    gt = make_tree('taskonomy').build()[0]['gt']
    assert gt['depth'][0, :3].tolist() == [0, 0, 1]
    assert gt['semseg'][0, :3].tolist() == [255, 0, 16]
    assert gt['edge_texture'][0, 0] == 0 and gt['edge_texture'].max() == 0.25
    assert gt['principal_curvature'][0, 0].tolist() == [0, 0]
    assert gt['principal_curvature'].shape == (12, 16, 2)


def test_clamps_of_depth_and_texture_edges(make_tree, save):
    tree = make_tree('taskonomy')
    stored = np.full((12, 16), 9000, np.uint16)
    stored[0, :2] = 65535, 8000
    save(tree.files['depth'], stored)
    gt = tree.build(['depth', 'edge_texture'], max_depth=8000 / 512, edge_texture_max=1.0)[0]['gt']
    assert gt['depth'][0, :3].tolist() == [0, 15.625, 15.625]
    assert gt['edge_texture'].max() == 1


def test_what_has_no_geometry_is_unknown_where_asked(make_tree):
    tree = make_tree('taskonomy')
    keys = ['reshading', 'principal_curvature', 'keypoints2d']
    plain = tree.build(keys)[0]['gt']
    masked = tree.build(keys, mask_geometric=True)
    for key, gt in masked[0]['gt'].items():
        known = masked.tasks[key].valid(gt)
        assert known[0, 1:].all() and known[0, 0] == (key == 'keypoints2d'), key
        assert masked.tasks[key].valid(plain[key]).all()


def test_ray_depth_becomes_axis_depth(make_tree, save):
    """A wall at right angles to the axis has one axis depth and many ray depths."""
    tree = make_tree('taskonomy')
    angle, height, width = 1.2, 12, 16
    focal = width / 2 / np.tan(angle / 2)
    v, u = np.mgrid[:height, :width] + 0.5
    ray = 4 * np.sqrt(1 + ((u - 8) / focal) ** 2 + ((v - 6) / focal) ** 2)
    folder = tree.root / 'adel/depth_euclidean'
    stored = np.rint(ray * 512).astype(np.uint16)
    stored[0, 0] = 65535
    save(folder / 'point_0_view_0_domain_depth_euclidean.png', stored)
    options = dict(depth_domain='depth_euclidean', buildings=['adel'])
    sample = tree.build(['depth'], field_of_view=angle, **options)[0]
    assert sample['gt']['depth'][0, 0] == 0
    assert np.allclose(sample['gt']['depth'].ravel()[1:], 4, atol=2 / 512)
    assert np.allclose(sample['intrinsics'], [[focal, 0, 8], [0, focal, 6], [0, 0, 1]])
    with pytest.raises(ValueError, match=r'along the ray.*field_of_view'):
        tree.build(['depth'], **options)
    with pytest.raises(ValueError, match=r"depth_domain` is 'depth'"):
        tree.build(['depth'], depth_domain='depth')
    # The angle of each view from its own camera file.
    camera = tree.root / 'adel/point_info/point_0_view_0_domain_fixatedpose.json'
    camera.parent.mkdir()
    camera.write_text('{"field_of_view_rads": 1.2}')
    own = tree.build(['depth'], field_of_view='point_info', **options)
    assert np.array_equal(own[0]['gt']['depth'], sample['gt']['depth'])
    camera.write_text('{"field_of_view_rads": 4}')
    with pytest.raises(DataError, match=r'fixatedpose.json: field_of_view_rads is 4'):
        own[0]
    camera.unlink()
    with pytest.raises(
        DataError, match=r'euclidean.png: is depth along the ray, and this view has'
    ):
        tree.build(['depth'], field_of_view='point_info', **options)[0]


# -- splits, indexes, archives --------------------------------------------------


def test_splits_from_the_authors_table(make_tree):
    tree = make_tree('taskonomy')
    table = tree.root / 'train_val_test_tiny.csv'
    table.write_text('\ufeffid,train,val,test\nadel,1,0,0\nbow,0,1,0\n')
    for split, buildings in (('train', ['adel', 'adel']), ('val', ['bow'])):
        dataset = tree.build(['depth'], buildings=None, split_file=table.name, split=split)
        ids = [dataset[i]['sample_id'] for i in range(len(dataset))]
        assert [one.partition('/')[0] for one in ids] == buildings
    with pytest.raises(DataError, match=r"no building has a 1 in column 'test'"):
        tree.build(buildings=None, split_file=table.name, split='test')
    with pytest.raises(DataError, match=r"expected 'id' and 'trian'.*Did you mean 'train'"):
        tree.build(buildings=None, split_file=table.name, split='trian')
    with pytest.raises(ValueError, match='give one of them'):
        tree.build(split_file=table.name)
    table.write_text('id,train\n' + 'x' * 200_000 + ',1\n')
    with pytest.raises(DataError, match=r'tiny.csv: is no table'):
        tree.build(buildings=None, split_file=table.name)


def test_missing_buildings_are_counted(make_tree):
    tree = make_tree('taskonomy')
    with pytest.raises(DataError, match=r"2 of 4 buildings, 'x' for one, have no pictures"):
        tree.build(buildings=['adel', 'x', 'bow', 'y'])
    assert len(tree.build(buildings=['adel', 'x', 'bow', 'y'], on_error='skip')) == 3


def listings(monkeypatch):
    import mmdense.datasets.taskonomy as module

    listed = []
    original = module.folder_index
    monkeypatch.setattr(
        module, 'folder_index', lambda *args: listed.append(args[0]) or original(*args)
    )
    return listed


def test_an_index_spares_the_listing(make_tree, monkeypatch):
    tree = make_tree('taskonomy')
    domains = ['rgb', 'depth_zbuffer', 'segment_semantic', 'normal']
    for building, views in (('adel', (0, 1)), ('bow', (0,))):
        write_view_index(
            tree.root / f'index/{building}.txt',
            {f'point_{v}_view_0': domains[: 4 - v] for v in views},
        )
    listed = listings(monkeypatch)
    dataset = tree.build(['semseg', 'normal'])
    assert not listed
    # The names of segment_semantic files end otherwise than their folder: found on reading.
    assert np.array_equal(dataset[0]['gt']['semseg'], tree.truth['adel/point_0_view_0']['semseg'])
    assert [sorted(dataset[i]['gt']) for i in range(3)] == [
        ['normal', 'semseg'], ['semseg'], ['normal', 'semseg'],
    ]  # fmt: skip


def test_an_index_of_bare_views_leaves_the_domains_to_the_folders(make_tree, monkeypatch):
    tree = make_tree('taskonomy')
    (tree.root / 'index').mkdir()
    (tree.root / 'index/adel.txt').write_text('point_1_view_0\n')
    listed = listings(monkeypatch)
    dataset = tree.build(['depth'], buildings=['adel'])
    assert [path.rpartition('/')[2] for path in listed] == ['depth_zbuffer']
    assert [dataset[0]['sample_id'], len(dataset)] == ['adel/point_1_view_0', 1]
    (tree.root / 'index/adel.txt').write_text('<html>')
    with pytest.raises(DataError, match=r"adel.txt: line 1 is '<html>', expected 'point_"):
        tree.build(['depth'], buildings=['adel'])


def test_one_archive_per_building(make_tree, tmp_path):
    tree = make_tree('taskonomy')
    for building in ('adel', 'bow'):
        with tarfile.open(tree.root / f'{building}.tar', 'w') as archive:
            archive.add(tree.root / building, '.')
        shutil.rmtree(tree.root / building)
    write_view_index(
        tree.root / 'index/bow.txt', {'point_0_view_0': ['rgb', 'depth_zbuffer', 'normal']}
    )
    dataset = tree.build(
        ['depth', 'normal'],
        layout='{building}.tar/{domain}',
        backend_args=dict(backend='tar_shards'),
    )
    for i in range(3):
        sample = dataset[i]
        for key in ('depth', 'normal'):
            assert np.allclose(sample['gt'][key], tree.truth[sample['sample_id']][key], atol=1e-5)


def test_the_list_of_views_is_compact_and_slices(make_tree):
    dataset = make_tree('taskonomy').build(['depth'])
    views = dataset.data_list
    assert isinstance(views, ViewList) and len(views) == len(list(views)) == 3
    assert views[1:][0] == views[1] == views[-2] and views[::-1][0] == views[2]
    assert views.count('depth') == 3
    assert views.view.nbytes + views.building.nbytes + views.present.nbytes < 30 * len(views)
    assert [dataset.get_subset([2, 0])[i]['sample_id'] for i in (0, 1)] == [
        views[2]['sample_id'], views[0]['sample_id'],
    ]  # fmt: skip
    assert len(dataset.get_subset(2)) == 2


views = st.dictionaries(
    st.tuples(st.integers(0, 99), st.integers(0, 9)).map(lambda pv: f'point_{pv[0]}_view_{pv[1]}'),
    st.frozensets(st.sampled_from(['rgb', 'normal', 'depth_zbuffer', 'segment_semantic'])).map(
        lambda domains: domains | {'rgb'}
    ),
)


@settings(max_examples=40, deadline=None)
@given(views)
def test_an_index_comes_back_as_written(tmp_path_factory, views):
    path = tmp_path_factory.mktemp('index') / 'b.txt'
    write_view_index(path, views)
    if views:
        assert read_view_index(str(path)) == views
