"""Own pictures: every format against what was written, every mistake by its name."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

from mmdense.apis.named_datasets import named_dataset
from mmdense.datasets import FolderDataset
from mmdense.datasets.folder_description import read_description
from mmdense.datasets.rooms import render_room
from mmdense.datasets.rooms.constants import CLASSES, PARTS
from mmdense.datasets.writers import FolderWriter
from mmdense.engine.launch import train
from mmdense.registry import DATASETS, MODELS
from mmdense.utils import DataError

ROOT = Path(__file__).parents[2]
SIZE = (6, 8)
rng = np.random.default_rng(0)
SEMSEG = dict(semseg=dict(type='SemSeg', num_classes=3))
DEPTH = dict(depth=dict(type='Depth'))
NAMES = ['wall', 'floor', 'chair']


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.npy':
        np.save(path, array)
    else:
        Image.fromarray(array).save(path)


def make(root, tasks, stems=('a', 'b'), **top):
    """Pictures and a description; maps are the tests' own."""
    for stem in stems:
        save(root / f'images/{stem}.png', rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
    content = dict(tasks=tasks, splits=dict(train=list(stems)), **top)
    (root / 'dataset.yml').write_text(yaml.safe_dump(content, sort_keys=False))
    return root


def build(root, tasks, **kwargs):
    return FolderDataset(tasks, data_root=str(root), serialize_data=False, **kwargs)


def gt_of(root, tasks, index=0):
    (key,) = tasks
    return build(root, tasks)[index]['gt'][key]


# -- formats ------------------------------------------------------------------


def test_labels_from_zero_with_a_value_for_unknown(tmp_path):
    make(tmp_path, dict(semseg=dict(classes=NAMES, invalid=[255])), ['a'])
    stored = rng.choice([0, 1, 2, 255], SIZE).astype(np.uint8)
    save(tmp_path / 'semseg/a.png', stored)
    gt = gt_of(tmp_path, SEMSEG)
    assert gt.dtype == np.uint8 and np.array_equal(gt, stored)


def test_labels_by_stored_value_which_may_be_any_and_share_a_class(tmp_path):
    classes = {7: 'road', 11: 'building', 12: 'building', -4: 'sky'}
    make(tmp_path, dict(semseg=dict(classes=classes, invalid=[0])), ['a'])
    stored = rng.choice([7, 11, 12, -4, 0], SIZE)
    save(tmp_path / 'semseg/a.npy', stored)
    expected = np.vectorize({7: 0, 11: 1, 12: 1, -4: 2, 0: 255}.get)(stored)
    assert np.array_equal(gt_of(tmp_path, SEMSEG), expected)
    assert build(tmp_path, SEMSEG).metainfo['classes'] == ('road', 'building', 'sky')


def test_labels_without_a_name_are_refused_or_unknown(tmp_path):
    stored = np.zeros(SIZE, np.uint8)
    stored[1, 1], stored[2, 2] = 9, 3
    save(tmp_path / 'semseg/a.png', stored)
    make(tmp_path, dict(semseg=dict(classes=NAMES)), ['a'])
    with pytest.raises(DataError, match=r'a\.png: holds the labels \[3, 9\].*tasks\.semseg'):
        gt_of(tmp_path, SEMSEG)
    make(tmp_path, dict(semseg=dict(classes=NAMES, others='invalid')), ['a'])
    assert np.array_equal(gt_of(tmp_path, SEMSEG), np.where(stored == 0, 0, 255))


@pytest.mark.parametrize(
    ('entry', 'factor'),
    [(dict(unit='m'), 1), (dict(unit='mm'), 1e-3), (dict(scale='1/256'), 1 / 256),
     (dict(scale='5e-3'), 5e-3)],
)  # fmt: skip
def test_depth_in_any_unit(tmp_path, entry, factor):
    make(tmp_path, dict(depth=dict(entry, invalid=[0, 65535])), ['a'])
    stored = rng.integers(1, 9, SIZE).astype(np.uint16)
    stored[0, :2] = 0, 65535
    save(tmp_path / 'depth/a.png', stored)
    gt = gt_of(tmp_path, DEPTH)
    assert gt.dtype == np.float32 and (gt[0, :2] == 0).all()
    assert np.allclose(gt[1:], stored[1:] * factor, rtol=1e-6)


def test_depth_that_is_not_finite_is_unknown_only_if_the_file_says_so(tmp_path):
    stored = np.full(SIZE, 2.0, np.float32)
    stored[0, :3] = np.nan, np.inf, -1
    save(tmp_path / 'depth/a.npy', stored)
    make(tmp_path, dict(depth=dict(unit='m', invalid=[-1])), ['a'])
    with pytest.raises(DataError, match=r'a\.npy: 2 values are NaN or infinite.*\.nan'):
        gt_of(tmp_path, DEPTH)
    make(tmp_path, dict(depth=dict(unit='m', invalid=[-1.0, np.nan, np.inf])), ['a'])
    gt = gt_of(tmp_path, DEPTH)
    assert (gt[0, :3] == 0).all() and (gt[1:] == 2).all()


def test_disparity_keeps_zero_and_names_its_kind(tmp_path):
    entry = dict(kind='disparity_px', scale='1/256', invalid=[65535])
    make(tmp_path, dict(depth=entry), ['a'])
    stored = np.full(SIZE, 512, np.uint16)
    stored[0, :2] = 0, 65535
    save(tmp_path / 'depth/a.png', stored)
    tasks = dict(depth=dict(type='Depth', kind='disparity_px', min_depth=0, max_depth=300))
    gt = gt_of(tmp_path, tasks)
    assert gt[0, 0] == 0 and gt[0, 1] == -1 and (gt[1:] == 2).all()
    with pytest.raises(ValueError, match="reads 'disparity_px'"):
        build(tmp_path, DEPTH)


@pytest.mark.parametrize('axes', ['opencv', 'x-right y-down z-front'])
def test_normals_in_the_axes_that_are_stated(tmp_path, axes):
    make(tmp_path, dict(normals=dict(axes=axes)), ['a'])
    normal = rng.normal(size=(*SIZE, 3))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    stored = np.rint((normal * [1, -1, -1] + 1) * 127.5).astype(np.uint8)
    stored[0, 0] = 128
    save(tmp_path / 'normals/a.png', stored)
    gt = gt_of(tmp_path, dict(normal=dict(type='Normal')))
    assert (gt[0, 0] == 0).all()
    assert np.allclose(np.linalg.norm(gt[1:], axis=-1), 1, atol=1e-6)
    assert np.abs(gt[1:] - normal[1:]).max() < 0.01


def test_zeros_and_ones_with_a_value_for_unknown(tmp_path):
    make(tmp_path, dict(edge=dict(one=255, invalid=[128])), ['a'])
    stored = rng.choice([0, 128, 255], SIZE).astype(np.uint8)
    save(tmp_path / 'edge/a.png', np.repeat(stored[..., None], 3, axis=2))  # grey saved as RGB
    gt = gt_of(tmp_path, dict(boundary=dict(type='Boundary')))
    assert np.array_equal(gt, np.vectorize({0: 0, 255: 1, 128: 255}.get)(stored))


def test_numbers_of_one_and_several_channels(tmp_path):
    entry = dict(scale='2/255', offset=-1, invalid=[0])
    make(tmp_path, dict(curvature=entry, reshading=dict(scale='1/255', invalid=[7])), ['a'])
    stored = rng.integers(1, 256, (*SIZE, 2)).astype(np.uint8)
    stored[0, 0] = 0
    stored[0, 1] = 0, 9
    save(tmp_path / 'curvature/a.npy', stored)
    grey = rng.integers(0, 256, SIZE).astype(np.uint8)
    grey[0, 0] = 7
    save(tmp_path / 'reshading/a.png', grey)
    gt = build(
        tmp_path,
        dict(curvature=dict(type='PrincipalCurvature'), reshading=dict(type='Reshading')),
    )[0]['gt']
    expected = stored * (2 / 255) - 1
    expected[0, 0] = -2
    assert np.allclose(gt['principal_curvature'], expected, atol=1e-6)
    assert np.allclose(gt['reshading'], np.where(grey == 7, -1, grey / 255), atol=1e-6)
    make(tmp_path, dict(reshading=dict()), ['a'])
    with pytest.raises(DataError, match=r'holds uint8.*Add `scale`'):
        gt_of(tmp_path, dict(reshading=dict(type='Reshading')))


def test_a_format_can_be_named(tmp_path):
    make(tmp_path, dict(reshading=dict(format='binary', one=1)), ['a'])
    stored = rng.integers(0, 2, SIZE).astype(np.uint8)
    save(tmp_path / 'reshading/a.png', stored)
    assert np.array_equal(gt_of(tmp_path, dict(reshading=dict(type='Reshading'))), stored)


# -- where files are ----------------------------------------------------------


def test_folders_endings_and_folders_below(tmp_path):
    stems = ['kitchen/1', 'kitchen/2', 'bath/1']
    for index, stem in enumerate(stems):
        save(tmp_path / f'rgb/{stem}_rgb.png', np.full((*SIZE, 3), index, np.uint8))
        save(tmp_path / f'gt/depth/{stem}_d.npy', np.full(SIZE, index + 1.0))
        save(tmp_path / f'gt/depth/{stem}_shown.npy', np.full(SIZE, 77.0))
    content = dict(
        images=dict(folder='rgb', ending='_rgb.png'),
        tasks=dict(depth=dict(folder='gt/depth', ending='_d.npy', unit='m')),
        splits=dict(train='kitchen/', val=['bath/1']),
        intrinsics=[100, 101, 4, 3],
    )
    (tmp_path / 'dataset.yml').write_text(yaml.safe_dump(content, sort_keys=False))
    data = build(tmp_path, DEPTH)
    assert [data[i]['sample_id'] for i in range(len(data))] == ['kitchen/1', 'kitchen/2']
    assert (data[1]['gt']['depth'] == 2).all() and (data[1]['img'] == 1).all()
    assert data[0]['intrinsics'].tolist() == [[100, 0, 4], [0, 101, 3], [0, 0, 1]]
    assert [build(tmp_path, DEPTH, split=s)[0]['sample_id'] for s in ('val', None)] == [
        'bath/1'
    ] * 2
    assert len(build(tmp_path, DEPTH, split=None)) == 3


def test_list_files_may_name_endings_and_a_map_may_lack(tmp_path):
    make(tmp_path, dict(depth=dict(unit='m')), ['a', 'b', 'c'])
    (tmp_path / 'splits').mkdir()
    (tmp_path / 'splits/train.txt').write_text('c.png\n\na\n')
    content = yaml.safe_load((tmp_path / 'dataset.yml').read_text())
    content['splits'] = dict(train='splits/train.txt')
    (tmp_path / 'dataset.yml').write_text(yaml.safe_dump(content, sort_keys=False))
    save(tmp_path / 'depth/a.npy', np.ones(SIZE))
    data = build(tmp_path, DEPTH)
    assert [list(data[i]['gt']) for i in range(2)] == [[], ['depth']]


def test_shares_split_all_pictures_and_new_ones_move_no_other(tmp_path):
    def pictures(names, split):
        description = read_description(str(tmp_path))
        return set(description.choose(split, names))

    (tmp_path / 'dataset.yml').write_text('tasks: {}\nsplits: {train: 0.7, val: 0.2, test: 0.1}')
    names = [f'{i:05d}' for i in range(3000)]
    parts = {split: pictures(names, split) for split in ('train', 'val', 'test')}
    assert set.union(*parts.values()) == set(names)
    assert sum(map(len, parts.values())) == len(names)
    for split, share in (('train', 0.7), ('val', 0.2), ('test', 0.1)):
        assert abs(len(parts[split]) / 3000 - share) < 0.03
        more = pictures([*names, 'new', 'newer'], split)
        assert parts[split] == more & set(names)


# -- mistakes -----------------------------------------------------------------

MISTAKES = [
    ('tasks: [', 'is no YAML'),
    ('', 'the file is empty'),
    ('# nothing', 'is empty, expected keys'),
    ('task: {}', "unknown key 'task'.*Did you mean 'tasks'"),
    ('images: x', 'tasks: is empty'),
    ('tasks: {depth: {unit: mm, invald: [0]}}', "has no 'invald'.*Did you mean 'invalid'"),
    ('tasks: {depth: {unit: inch}}', "unit is 'inch'.*scale"),
    ('tasks: {depth: {}}', 'states no unit for metric depth.*unit: mm'),
    ('tasks: {depth: {unit: m, scale: 2}}', 'states unit and scale'),
    ('tasks: {depth: {scale: 1/0}}', "scale is '1/0', expected a number"),
    ('tasks: {depth: {scale: -1}}', 'must be positive'),
    ('tasks: {depth: {unit: m, kind: inverse}}', "kind is 'inverse'.*inverse_norm"),
    ('tasks: {depth: {format: dept, unit: m}}', "format is 'dept'.*Did you mean 'depth'"),
    ('tasks: {normal: {}}', 'does not state `axes`'),
    ('tasks: {normal: {axes: opencvv}}', "axes: .*Did you mean 'opencv'"),
    ('tasks: {boundary: {one: 2}}', 'one is 2; choose 1 or 255'),
    ('tasks: {semseg: {}}', r'classes is None; list the names'),
    ('tasks: {semseg: {classes: [a, a, b]}}', 'names a class twice'),
    ('tasks: {semseg: {classes: [a]}}', 'names 1 classes, expected 2 to 255'),
    ('tasks: {semseg: {classes: [a, b, c], invalid: [0]}}', "value 0 is class 'a' and `invalid`"),
    ('tasks: {semseg: {classes: {1.5: a, 2: b}}}', 'holds 1.5; stored labels are whole'),
    ('tasks: {semseg: {classes: {0: a, 99999999: b}}}', 'span 100000000'),
    ('tasks: {semseg: {classes: [a, b, c], others: keep}}', "others is 'keep'"),
    ('{tasks: {depth: {unit: m}}, splits: {train: 0.8, val: 0.3}}', 'sum of at most 1'),
    ('{tasks: {depth: {unit: m}}, splits: {train: 0.8, val: v.txt}}', 'mix shares with lists'),
    ('{tasks: {depth: {unit: m}}, splits: {train: }}', r'splits\.train is None; give a list file'),
    ('{tasks: {depth: {unit: m}}, splits: {trian: [a]}}', "no split 'train'.*Did you mean 'trian'"),
    ('tasks: {depth: {unit: m}}', "has no split 'train'. It names none"),
    ('{tasks: {depth: {unit: m}}, intrinsics: [1, 2]}', r'expected \[fx, fy, cx, cy\]'),
]


@pytest.mark.parametrize(('text', 'words'), MISTAKES)
def test_mistakes_in_the_description_are_named(tmp_path, text, words):
    save(tmp_path / 'images/a.png', np.zeros((*SIZE, 3), np.uint8))
    (tmp_path / 'dataset.yml').write_text(text)
    every = dict(
        semseg=dict(type='SemSeg', num_classes=3),
        depth=dict(type='Depth'),
        normal=dict(type='Normal'),
        boundary=dict(type='Boundary'),
    )
    tasks = {key: cfg for key, cfg in every.items() if f'{key}:' in text} or DEPTH
    with pytest.raises(DataError, match=words) as caught:
        build(tmp_path, tasks)
    assert str(tmp_path / 'dataset.yml') in str(caught.value)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no' does not exist.*docs/datasets\.md"):
        build(tmp_path / 'no', DEPTH)
    with pytest.raises(DataError, match=r"has no 'dataset\.yml'"):
        build(tmp_path, DEPTH)
    make(tmp_path, dict(depth=dict(unit='m'), edge=dict()))
    with pytest.raises(DataError, match=r"task 'depth' has no ground truth in .*'depth' \(\.png"):
        build(tmp_path, DEPTH)
    with pytest.raises(KeyError, match=r"no entry for task 'semseg'. Known: boundary, depth"):
        build(tmp_path, SEMSEG)
    (tmp_path / 'images/b.png').unlink()
    with pytest.raises(DataError, match=r"1 of 2 pictures of '.*dataset\.yml, split train'.*'b'"):
        build(tmp_path, DEPTH)
    (tmp_path / 'images/a.png').unlink()
    with pytest.raises(DataError, match=r"no picture in .* below 'images'"):
        build(tmp_path, DEPTH)


def test_classes_of_the_config_must_number_those_of_the_file(tmp_path):
    make(tmp_path, dict(semseg=dict(classes=NAMES)), ['a'])
    save(tmp_path / 'semseg/a.png', np.zeros(SIZE, np.uint8))
    with pytest.raises(ValueError, match=r'has 3 classes\. Set num_classes=3'):
        build(tmp_path, dict(semseg=dict(type='SemSeg', num_classes=13)))


def test_a_map_of_another_size_and_a_colour_map_of_depth_are_refused(tmp_path):
    make(tmp_path, dict(depth=dict(unit='m')), ['a', 'b'])
    save(tmp_path / 'depth/a.npy', np.ones((8, 6)))
    save(tmp_path / 'depth/b.png', rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
    data = build(tmp_path, DEPTH)
    with pytest.raises(DataError, match=r'a\.npy: .*\(8, 6\).*picture .*\(6, 8\)'):
        data[0]
    with pytest.raises(DataError, match=r'b\.png: depth is uint8 \(6, 8, 3\)'):
        data[1]


# -- written and read back ----------------------------------------------------


def test_written_rooms_come_back(tmp_path):
    writer = FolderWriter(tmp_path, dict(semseg=CLASSES, part=PARTS), name='rooms')
    gt = dict(
        semseg=rng.choice([0, 12, 255], SIZE).astype(np.uint8),
        depth=rng.uniform(0.5, 8, SIZE).astype(np.float32),
        normal=rng.normal(size=(*SIZE, 3)).astype(np.float32),
        boundary=rng.choice([0, 1, 255], SIZE).astype(np.uint8),
        saliency=rng.choice([0, 1], SIZE).astype(np.uint8),
        part=np.full(SIZE, 255, np.uint8),
    )
    gt['normal'] /= np.linalg.norm(gt['normal'], axis=-1, keepdims=True)
    gt['depth'][0, 0] = gt['normal'][0, 0] = 0
    img = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    writer.write('train', 0, dict(img=img, gt=gt))
    writer.write('val', 0, dict(img=img, gt=dict(depth=gt['depth'])))
    writer.finish()
    cfg = named_dataset('folder', 'train', str(tmp_path))
    assert list(cfg['tasks']) == list(gt)
    assert cfg['tasks']['semseg']['num_classes'] == 13
    data = DATASETS.build(dict(cfg, _scope_='mmdense', serialize_data=False))
    sample = data[0]
    assert np.array_equal(sample['img'], img) and sample['sample_id'] == 'train_00000'
    for key in ('semseg', 'boundary', 'saliency', 'part'):
        assert np.array_equal(sample['gt'][key], gt[key]), key
    assert np.abs(sample['gt']['depth'] - gt['depth']).max() < 5.1e-4
    assert np.abs(sample['gt']['normal'] - gt['normal']).max() < 0.01
    assert (sample['gt']['normal'][0, 0] == 0).all()
    val = DATASETS.build(dict(cfg, split='val', _scope_='mmdense', serialize_data=False,
                              tasks=DEPTH))  # fmt: skip
    assert list(val[0]['gt']) == ['depth']
    with pytest.raises(DataError, match='does not fit 16-bit millimetres'):
        writer.write('val', 1, dict(img=img, gt=dict(depth=np.full(SIZE, 70.0))))
    with pytest.raises(ValueError, match="task 'albedo' has no encoding"):
        FolderWriter(tmp_path, {}, ['albedo'])


def test_page_shows_a_description_that_reads(tmp_path):
    """The example of docs/datasets.md."""
    page = (ROOT / 'docs' / 'datasets.md').read_text()
    (text,) = re.findall(r'```yaml\n(.*?)```', page, re.DOTALL)
    (tmp_path / 'dataset.yml').write_text(text)
    configs = read_description(str(tmp_path)).task_configs()
    assert configs['semseg']['num_classes'] == 3
    assert {'depth', 'normal', 'boundary'} <= set(configs)


def thin(cfg):
    """Options that make the network of the example small."""
    options = {'model.backbone.stem_channels': 8, 'model.backbone.base_channels': 8}
    for key in cfg.model.heads:
        options[f'model.heads.{key}.in_channels'] = [8, 16, 32, 64]
        options[f'model.heads.{key}.channels'] = 8
    return options


@pytest.mark.slow
def test_config_fine_tunes_from_weights_of_other_classes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    writer = FolderWriter(tmp_path / 'data', dict(semseg=CLASSES), ['semseg', 'depth', 'normal'])
    for split in ('train', 'val'):
        for index in range(4):
            # Of another size and aspect ratio than the network sees.
            room = render_room(0, split, index, (40, 70))
            writer.write(split, index, dict(img=room.image, gt=room.gt))
    writer.finish()
    path = ROOT / 'configs/folder/mtl_r18-thin_1xb8-200_folder-96x128.py'
    cfg = Config.fromfile(path)
    options = thin(cfg)
    init_default_scope('mmdense')
    cfg.merge_from_dict({**options, 'model.tasks.semseg.num_classes': 5})
    weights = MODELS.build(cfg.model).state_dict()
    torch.save(dict(state_dict=weights, meta={}), tmp_path / 'start.pth')
    for name in ('train', 'val', 'test'):
        options |= {
            f'{name}_dataloader.{key}': value
            for key, value in dict(num_workers=0, persistent_workers=False, batch_size=2).items()
        }
    options |= {'data_root': str(tmp_path / 'data'), 'train_cfg.max_iters': 2,
                'train_cfg.val_interval': 2, 'optim_wrapper.optimizer.lr': 1e-6}  # fmt: skip
    runner = train(str(path), work_dir='work', cfg_options=options, load_from='start.pth', seed=0)
    name = 'heads.depth.predictor.weight'
    assert torch.allclose(runner.model.state_dict()[name], weights[name], atol=1e-4)
    assert runner.model.heads['semseg'].predictor.weight.shape[0] == 13
    results = runner.val_loop.run()
    assert {'semseg/mIoU', 'depth/rmse', 'normal/mean'} <= set(results)
    assert all(np.isfinite(results[key]) for key in ('depth/rmse', 'normal/mean'))
    # Scores are at the size of the pictures.
    assert runner.val_evaluator.report['resolution'] == {'40x70': 4}
