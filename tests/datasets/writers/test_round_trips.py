"""Known arrays through each writer and back through the reader of the layout."""

import json

import cv2
import numpy as np
import pytest

from mmdense.datasets import (
    CityscapesDataset,
    CityscapesSmallDataset,
    NYUDv2Dataset,
    NYUv2Dataset,
    PASCALContextDataset,
    TaskonomyDataset,
)
from mmdense.datasets.pascal_parts import read_objects
from mmdense.datasets.writers import (
    AnnotatedObject,
    CityscapesSmallWriter,
    CityscapesWriter,
    NYUDWriter,
    NYUv2Writer,
    PASCALContextWriter,
    TaskonomyWriter,
    pack_building,
)
from mmdense.utils import DataError

SIZE = (12, 15)


def semseg(count):
    return dict(type='SemSeg', num_classes=count)


def sample(classes, seed=0, **gt):
    """Random ground truth with every special value of the library in it."""
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=(*SIZE, 3))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    depth = rng.uniform(0.5, 9, SIZE).astype(np.float32)
    depth[0, :3] = 0
    labels = rng.integers(0, classes, SIZE).astype(np.uint8)
    labels[1, :4] = (255, 0, classes - 1, 255)
    found = dict(
        semseg=labels,
        depth=depth,
        normal=normal.astype(np.float32),
        boundary=rng.integers(0, 2, SIZE).astype(np.uint8),
        saliency=rng.integers(0, 2, SIZE).astype(np.uint8),
    )
    # Smooth, so that JPEG leaves it nearly as it is.
    ramp = np.linspace(40, 200, SIZE[1])[None, :, None] + np.arange(SIZE[0])[:, None, None]
    image = np.repeat(ramp, 3, axis=2).astype(np.uint8)
    return dict(img=image, gt={**found, **gt})


def write(writer, samples, split='train'):
    for index, one in enumerate(samples):
        writer.write(split, index, one)
    writer.finish()
    return writer.root


def angles(a, b):
    return np.degrees(np.arccos(np.clip((a * b).sum(-1), -1, 1)))


@pytest.mark.parametrize('packaging', ['png', 'npy'])
def test_nyud(tmp_path, packaging):
    samples = [sample(40, seed) for seed in range(2)]
    samples[0]['gt']['normal'][2, :3] = 0
    root = write(NYUDWriter(tmp_path, packaging), samples)
    tasks = dict(
        semseg=semseg(40),
        depth=dict(type='Depth'),
        normal=dict(type='Normal'),
        boundary=dict(type='Boundary'),
    )
    data = NYUDv2Dataset(tasks, data_root=str(root))
    assert [data[i]['sample_id'] for i in range(2)] == ['train_00000', 'train_00001']
    for index, want in enumerate(samples):
        got, gt = data[index], want['gt']
        for key in ('semseg', 'depth', 'boundary'):
            np.testing.assert_array_equal(got['gt'][key], gt[key], key)
        known = (gt['normal'] != 0).any(-1)
        if packaging == 'png':
            np.testing.assert_array_equal(got['img'], want['img'])
            assert angles(got['gt']['normal'], gt['normal'])[known].max() < 0.5
        else:
            assert np.abs(got['img'].astype(int) - want['img']).max() < 12
            np.testing.assert_allclose(got['gt']['normal'], gt['normal'], atol=1e-6)


def test_nyuv2(tmp_path):
    samples = [sample(13, seed) for seed in range(11)]
    samples[3]['gt']['normal'][0, 0] = 0
    root = write(NYUv2Writer(tmp_path), samples)
    stored = np.load(root / 'train' / 'label' / '0.npy')
    assert stored.min() == -1
    assert np.load(root / 'train' / 'depth' / '0.npy').shape == (*SIZE, 1)
    tasks = dict(semseg=semseg(13), depth=dict(type='Depth'), normal=dict(type='Normal'))
    data = NYUv2Dataset(tasks, data_root=str(root))
    assert len(data) == 11
    for index, want in enumerate(samples):
        got = data[index]
        np.testing.assert_array_equal(got['img'], want['img'])
        for key in ('semseg', 'depth'):
            np.testing.assert_array_equal(got['gt'][key], want['gt'][key])
        np.testing.assert_allclose(got['gt']['normal'], want['gt']['normal'], atol=1e-6)


def context_of(rng):
    """Blocks of categories, 0 (unlabelled) among them."""
    return np.repeat(np.repeat(rng.choice([0, 440, 284, 308], (4, 5)), 3, 0), 3, 1).astype(np.int16)


PASCAL_TASKS = dict(
    semseg=semseg(21),
    part=dict(type='Part'),
    normal=dict(type='Normal'),
    saliency=dict(type='Saliency'),
    boundary=dict(type='Boundary'),
)


def test_pascal_context(tmp_path):
    rng = np.random.default_rng(5)
    part = np.repeat(np.arange(7, dtype=np.uint8), SIZE[0] * SIZE[1] // 7 + 1)
    part = part[: SIZE[0] * SIZE[1]].reshape(SIZE)
    samples = [
        dict(sample(21, part=part), aux=dict(context=context_of(rng))),
        dict(sample(21, part=np.full(SIZE, 255, np.uint8)), aux=dict(context=context_of(rng))),
    ]
    root = write(PASCALContextWriter(tmp_path, {440: 'wall', 284: 'person'}), samples)
    data = PASCALContextDataset(PASCAL_TASKS, data_root=str(root), test_mode=True)
    for index, want in enumerate(samples):
        got, gt = data[index], want['gt']
        for key in ('semseg', 'saliency', 'part'):
            np.testing.assert_array_equal(got['gt'][key], gt[key], key)
        context = want['aux']['context']
        np.testing.assert_array_equal(got['aux']['context'], context)
        known = np.isin(context, (440, 284))
        assert not got['gt']['normal'][~known].any()
        assert angles(got['gt']['normal'], gt['normal'])[known].max() < 0.5
        assert np.abs(got['img'].astype(int) - want['img']).max() < 12
    cache = json.loads((root / 'ImageSets' / 'Parts' / 'train.txt').read_text())
    assert cache == {'train_000000': [15], 'train_000001': []}
    only_parts = PASCALContextDataset(dict(part=dict(type='Part')), data_root=str(root))
    assert [only_parts[i]['sample_id'] for i in range(len(only_parts))] == ['train_000000']


def test_pascal_parts_keep_objects_names_and_order(tmp_path):
    mask = np.zeros(SIZE, bool)
    mask[:, :6] = True
    head, hair = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    head[:3, :3] = hair[2:5, 1:4] = True
    objects = [
        AnnotatedObject('chair', 9, ~mask),
        AnnotatedObject('person', 15, mask, [('torso', mask), ('head', head), ('rhand', hair)]),
        AnnotatedObject('person', 15, mask),
    ]
    one = dict(sample(21, part=np.zeros(SIZE, np.uint8)), objects=objects)
    root = write(PASCALContextWriter(tmp_path), [one])
    read = read_objects(str(root / 'human_parts' / 'train_000000.mat'))
    assert [item.category for item in read] == [9, 15, 15]
    assert [name for name, _ in read[1].parts] == ['torso', 'head', 'rhand']
    np.testing.assert_array_equal(read[1].parts[2][1], hair)
    assert read[2].parts == []
    data = PASCALContextDataset(dict(part=dict(type='Part')), data_root=str(root))
    want = np.where(mask, 2, 0)
    want[head] = 1
    want[hair] = 4
    np.testing.assert_array_equal(data[0]['gt']['part'], want)


def test_cityscapes_disparity(tmp_path):
    disparity = np.round(np.random.default_rng(0).uniform(0, 250, SIZE) * 256) / 256
    disparity[0, :4] = (-1, 0, 255.99609375 - 1 / 256, 1 / 256)
    one = dict(
        sample(19, depth=disparity.astype(np.float32)),
        intrinsics=np.array([[100.0, 0, 7.5], [0, 110, 6], [0, 0, 1]]),
        baseline=0.2,
    )
    root = write(CityscapesWriter(tmp_path), [one])
    stored = cv2.imread(str(next(root.glob('disparity/*/*/*.png'))), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    assert stored[0, :4].tolist() == [0, 1, 65535, 2]
    ids = cv2.imread(str(next(root.glob('gtFine/*/*/*.png'))), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(ids)) <= {0, 7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33}
    tasks = dict(
        semseg=semseg(19), depth=dict(type='Depth', kind='disparity_px', min_depth=0, max_depth=256)
    )
    got = CityscapesDataset(tasks, data_root=str(root))[0]
    for key in tasks:
        np.testing.assert_array_equal(got['gt'][key], one['gt'][key], key)
    np.testing.assert_array_equal(got['img'], one['img'])
    np.testing.assert_allclose(got['intrinsics'], one['intrinsics'])


def test_cityscapes_metric_depth(tmp_path):
    one = dict(
        sample(19), intrinsics=np.array([[2262.0, 0, 7.5], [0, 2262, 6], [0, 0, 1]]), baseline=0.05
    )
    root = write(CityscapesWriter(tmp_path, 'metric'), [one])
    data = CityscapesDataset(
        dict(depth=dict(type='Depth')), data_root=str(root), depth_kind='metric'
    )
    want, got = one['gt']['depth'], data[0]['gt']['depth']
    np.testing.assert_array_equal(got == 0, want == 0)
    # A step of 1/256 px at 9 m is 9^2 / (0.05 * 2262) / 512 = 1.4 mm.
    np.testing.assert_allclose(got, want, atol=1.5e-3)


def test_cityscapes_refuses_what_does_not_fit(tmp_path):
    writer = CityscapesWriter(tmp_path)
    with pytest.raises(DataError, match=r'300\.0 px does not fit .* ends at 256\.0'):
        writer.write('train', 0, sample(19, depth=np.full(SIZE, 300, np.float32)))
    with pytest.raises(DataError, match='needs `intrinsics` and `baseline`'):
        CityscapesWriter(tmp_path, 'metric').write('train', 0, sample(19))
    with pytest.raises(DataError, match='<city>_<6 digits>'):
        writer.write('train', 0, dict(sample(19), sample_id='0001'))


@pytest.mark.parametrize('classes', [2, 7, 19])
def test_cityscapes_small(tmp_path, classes):
    inverse = (np.random.default_rng(0).integers(0, 32258, SIZE) / 65535).astype(np.float32)
    samples = [sample(classes, seed, depth=inverse) for seed in range(3)]
    root = write(CityscapesSmallWriter(tmp_path, 'label_x', classes), samples)
    tasks = dict(
        semseg=semseg(classes),
        depth=dict(type='Depth', kind='inverse_norm', min_depth=0, max_depth=1),
    )
    data = CityscapesSmallDataset(tasks, data_root=str(root), label_folder='label_x')
    for index, want in enumerate(samples):
        for key in tasks:
            np.testing.assert_array_equal(data[index]['gt'][key], want['gt'][key], key)
        np.testing.assert_array_equal(data[index]['img'], want['img'])


def taskonomy_samples(count=3):
    rng = np.random.default_rng(3)
    found = []
    for seed in range(count):
        depth = rng.integers(1, 65534, SIZE) / np.float32(512)
        depth[0, :2] = 0
        one = sample(17, seed, depth=depth)
        for key in ('edge_texture', 'keypoints2d'):
            one['gt'][key] = (rng.integers(0, 16384, SIZE) / 65535).astype(np.float32)
        one['gt']['reshading'] = (rng.integers(0, 256, SIZE) / 255).astype(np.float32)
        curved = (rng.integers(0, 255, (*SIZE, 2)) - 127) / 128
        one['gt']['principal_curvature'] = curved.astype(np.float32)
        found.append(one)
    return found


TASKONOMY_TASKS = dict(
    semseg=semseg(17),
    depth=dict(type='Depth', max_depth=128.0),
    normal=dict(type='Normal'),
    edge_texture=dict(type='EdgeTexture'),
    keypoints2d=dict(type='Keypoints2D'),
    reshading=dict(type='Reshading'),
    principal_curvature=dict(type='PrincipalCurvature'),
)


@pytest.mark.parametrize('source', ['folders', 'index', 'tar'])
def test_taskonomy(tmp_path, source):
    samples = taskonomy_samples()
    root = write(TaskonomyWriter(tmp_path), samples)
    kwargs = {}
    if source == 'folders':
        (root / 'index' / 'train0.txt').unlink()
    if source == 'tar':
        pack_building(root, 'train0', remove=True)
        assert not (root / 'train0').exists()
        kwargs = dict(layout='{building}.tar/{domain}', backend_args=dict(backend='tar_shards'))
    data = TaskonomyDataset(
        TASKONOMY_TASKS, data_root=str(root), ann_file='splits/tiny_train.txt', **kwargs
    )
    assert len(data) == 3
    for index, want in enumerate(samples):
        got, gt = data[index], want['gt']
        assert got['sample_id'] == f'train0/point_{index}_view_0'
        for key in ('semseg', 'depth'):
            np.testing.assert_array_equal(got['gt'][key], gt[key], key)
        for key in ('edge_texture', 'keypoints2d', 'reshading', 'principal_curvature'):
            np.testing.assert_allclose(got['gt'][key], gt[key], atol=1e-6, err_msg=key)
        known = gt['depth'] > 0
        assert angles(got['gt']['normal'], gt['normal'])[known].max() < 0.5
        assert not got['gt']['normal'][~known].any()
        np.testing.assert_array_equal(got['img'], want['img'])


def test_taskonomy_stores_65535_for_unknown_and_y_down(tmp_path):
    one = taskonomy_samples(1)[0]
    one['gt']['depth'][1, :2] = (127.998, 400)
    one['gt']['normal'][:] = (0, 1, 0)
    root = write(TaskonomyWriter(tmp_path), [one])
    path = root / 'train0' / 'depth_zbuffer' / 'point_0_view_0_domain_depth_zbuffer.png'
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert stored[0, :2].tolist() == [65535, 65535]
    assert stored[1, :2].tolist() == [65535, 65535]
    normal = cv2.imread(str(next((root / 'train0' / 'normal').iterdir())))[..., ::-1]
    assert normal[0, 0].tolist() == [128, 0, 128]
    label = root / 'train0' / 'segment_semantic' / 'point_0_view_0_domain_segmentsemantic.png'
    assert cv2.imread(str(label), cv2.IMREAD_UNCHANGED)[1, 0] == 0


def test_split_table_and_index(tmp_path):
    writer = TaskonomyWriter(tmp_path, prefix='mini')
    for split in ('train', 'val'):
        writer.write(split, 0, taskonomy_samples(1)[0])
    writer.finish()
    table = (tmp_path / 'splits' / 'train_val_test_mini.csv').read_text().splitlines()
    assert table == ['id,train,val,test', 'train0,1,0,0', 'val0,0,1,0']
    line = (tmp_path / 'index' / 'val0.txt').read_text().split()
    assert line[0] == 'point_0_view_0'
    assert {'rgb', 'depth_zbuffer', 'segment_semantic', 'keypoints2d'} <= set(line)
    assert 'keypoints3d' not in line


def test_equal_buildings_give_equal_archives(tmp_path):
    contents = []
    for name in ('a', 'b'):
        root = write(TaskonomyWriter(tmp_path / name), taskonomy_samples(2))
        contents.append(pack_building(root, 'train0').read_bytes())
    assert contents[0] == contents[1]
    with pytest.raises(DataError, match=r'no \.png files'):
        pack_building(tmp_path / 'a', 'nobody')


def test_shapes_that_differ_are_refused(tmp_path):
    one = sample(40)
    one['gt']['depth'] = one['gt']['depth'][:-1]
    with pytest.raises(DataError, match=r"'train_00000'.*'depth' is \(11, 15\).*\(12, 15\)"):
        NYUDWriter(tmp_path).write('train', 0, one)
    assert not list(tmp_path.rglob('*.*'))


@pytest.mark.parametrize(
    ('writer', 'classes'),
    [(NYUDWriter, 40), (NYUv2Writer, 13), (PASCALContextWriter, 21), (CityscapesWriter, 19),
     (CityscapesSmallWriter, 7), (TaskonomyWriter, 17)],
)  # fmt: skip
def test_labels_that_the_layout_lacks_are_refused(tmp_path, writer, classes):
    one = dict(img=sample(40)['img'], gt=dict(semseg=np.full(SIZE, classes, np.uint8)))
    with pytest.raises(DataError, match=rf'0\.\.{classes - 1} and 255 .* labels \[{classes}\]'):
        writer(tmp_path).write('train', 0, one)
    assert not [path for path in tmp_path.rglob('*') if path.is_file()]


def test_pictures_without_a_task_lack_its_file(tmp_path):
    samples = [sample(40), sample(40, 1)]
    del samples[1]['gt']['depth']
    root = write(NYUDWriter(tmp_path), samples)
    data = NYUDv2Dataset(dict(depth=dict(type='Depth')), data_root=str(root))
    assert ['depth' in data[i]['gt'] for i in range(2)] == [True, False]
