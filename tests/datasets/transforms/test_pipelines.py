"""Every list of `configs/_base_/pipelines` runs, for every task and kind of depth."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmdense.tasks import build_tasks

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / 'configs/_base_/pipelines'
FILES = {path.stem: Config.fromfile(path) for path in sorted(FOLDER.glob('*.py'))}
PIPELINES = [(stem, key) for stem, cfg in FILES.items() for key in cfg if key.endswith('_pipeline')]
TRAINING = [(stem, key) for stem, key in PIPELINES if key.endswith('train_pipeline')]
KINDS = dict(metric=(1e-3, 10.0), disparity_px=(0.0, 200.0), inverse_norm=(0.0, 10.0))


def build(stem, key):
    init_default_scope('mmdense')
    return Compose(FILES[stem][key])


def with_kind(sample, kind):
    low, high = KINDS[kind]
    depth = build_tasks(dict(depth=dict(type='Depth', kind=kind, min_depth=low, max_depth=high)))
    unknown = sample['gt']['depth'] == sample['tasks']['depth'].ignore_value
    sample['tasks'] = {**sample['tasks'], **depth}
    sample['gt']['depth'][unknown] = depth['depth'].ignore_value
    return sample


def maps(packed, sample):
    """Ground truth of a packed sample as arrays ``(H, W[, D])``."""
    found = {}
    for key, task in sample['tasks'].items():
        gt = packed['data_samples'].gt(task)
        found[key] = gt.permute(1, 2, 0).squeeze(-1).numpy()
    return found


def output_size(stem, key, native):
    """What the list promises: its fixed size; the stored size where there is none."""
    return tuple(FILES[stem].get(key.split('_')[0] + '_size', native))


def test_the_published_sizes_are_there():
    sizes = {
        (stem, key): value
        for stem, cfg in FILES.items()
        for key, value in cfg.items()
        if key.endswith('_size')
    }
    assert sizes == {
        ('astmt', 'nyud_size'): (480, 640),
        ('astmt', 'pascal_size'): (512, 512),
        ('atrc', 'nyud_size'): (425, 560),
        ('atrc', 'pascal_size'): (512, 512),
        ('auto_lambda', 'cityscapes_size'): (256, 512),
        ('auto_lambda', 'nyuv2_size'): (288, 384),
        ('invpt', 'cityscapes_size'): (512, 1024),
        ('invpt', 'nyud_size'): (448, 576),
        ('invpt', 'pascal_size'): (512, 512),
    }
    for stem, cfg in FILES.items():
        for key in cfg:
            if key.endswith('_train_pipeline'):
                assert key.replace('_train_', '_test_') in cfg, (stem, key)


@pytest.mark.parametrize('kind', sorted(KINDS))
@pytest.mark.parametrize(('stem', 'key'), TRAINING)
def test_training_lists_keep_picture_and_targets_together(stem, key, kind, make_sample):
    native = (97, 131)
    sample = with_kind(make_sample(native, unknown=0.2), kind)
    before = {name: gt.copy() for name, gt in sample['gt'].items()}
    packed = build(stem, key)(sample)
    size = output_size(stem, key, native)
    assert packed['inputs'].dtype == torch.uint8 and tuple(packed['inputs'].shape[1:]) == size
    meta = packed['data_samples'].metainfo
    for name, gt in maps(packed, sample).items():
        task = sample['tasks'][name]
        assert gt.shape[:2] == size and gt.dtype == task.dtype
        if gt.dtype == np.uint8:
            assert np.isin(gt, np.append(before[name], 255)).all()
        elif name == 'normal':
            length = np.linalg.norm(gt, axis=-1)
            assert np.allclose(length[task.valid(gt)], 1, atol=1e-5)
            assert (length[~task.valid(gt)] == 0).all()
        else:
            zoom = meta.get('depth_scale', 1.0)
            factor = zoom if kind == 'metric' else 1 / zoom
            known = gt[task.valid(gt)]
            assert known.size
            # Nearest only: every depth is a stored one, times what the zoom demands.
            table = np.sort(before['depth'][before['depth'] > 0]) * factor
            spot = np.searchsorted(table, known).clip(1, len(table) - 1)
            miss = np.minimum(np.abs(table[spot] - known), np.abs(table[spot - 1] - known))
            assert (miss < 1e-5 * known.max()).all()


@pytest.mark.parametrize(('stem', 'key'), [p for p in PIPELINES if 'test' in p[1]])
def test_test_lists_leave_ground_truth_native(stem, key, make_sample):
    native = (97, 131)
    sample = make_sample(native)
    before = {name: gt.copy() for name, gt in sample['gt'].items()}
    packed = build(stem, key)(sample)
    for name, gt in maps(packed, sample).items():
        assert np.array_equal(gt, before[name]), name
    moved = stem in ('atrc', 'invpt', 'astmt')
    size = output_size(stem, key, native) if moved else native
    assert tuple(packed['inputs'].shape[1:]) == size


RESIZED = [p for p in PIPELINES if p[1].endswith(('resized_pipeline', 'selection_pipeline'))]


@pytest.mark.parametrize(('stem', 'key'), RESIZED)
def test_lists_that_resize_ground_truth_leave_its_values(stem, key, make_sample):
    sample = make_sample((97, 131))
    before = {name: gt.copy() for name, gt in sample['gt'].items()}
    packed = build(stem, key)(sample)
    size = output_size(stem, key, None)
    assert tuple(packed['inputs'].shape[1:]) == size
    for name, gt in maps(packed, sample).items():
        assert gt.shape[:2] == size
        if name != 'normal':
            assert np.isin(gt, before[name]).all(), name


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    which=st.sampled_from(PIPELINES),
    kind=st.sampled_from(sorted(KINDS)),
    seed=st.integers(0, 1000),
    height=st.integers(3, 90),
    width=st.integers(3, 90),
)
def test_unknown_stays_unknown_through_every_list(make_sample, which, kind, seed, height, width):
    sample = with_kind(make_sample((height, width), seed, unknown=1.0), kind)
    tasks = sample['tasks']
    packed = build(*which)(sample)
    for name, gt in maps(packed, sample).items():
        assert not tasks[name].valid(gt).any(), (which, name)


@pytest.mark.parametrize(('stem', 'key'), TRAINING)
def test_the_same_generator_gives_the_same_sample(stem, key, make_sample):
    pipeline = build(stem, key)
    packed = [pipeline(make_sample((60, 80), seed=4)) for _ in range(2)]
    assert torch.equal(packed[0]['inputs'], packed[1]['inputs'])
    for task in make_sample()['tasks'].values():
        assert torch.equal(*(p['data_samples'].gt(task) for p in packed))


def test_the_configs_of_the_page_on_data_loading_build(tmp_path):
    init_default_scope('mmdense')
    page = (ROOT / 'docs/data_loading.md').read_text()
    snippets = re.findall(r'```python\n(.*?)```', page, flags=re.S)
    assert len(snippets) == 2
    found = []
    for index, text in enumerate(snippets):
        path = tmp_path / f'snippet{index}.py'
        folder = str(FOLDER.parent)
        path.write_text(text.replace("'./", f"'{folder}/datasets/").replace("'../", f"'{folder}/"))
        found.append(Config.fromfile(path).train_dataloader.dataset.pipeline)
        Compose(found[-1])
    assert found[0] == FILES['atrc'].nyud_train_pipeline
    assert found[1][0].nearest == 'corner' and found[1][1:] == found[0][1:]
    assert all(f'`{stem}.py`' in page for stem in FILES)


@pytest.mark.parametrize(
    ('stem', 'key'), [('atrc', 'nyud_train_pipeline'), ('astmt', 'pascal_train_pipeline')]
)
def test_samples_do_not_depend_on_the_number_of_workers(stem, key):
    init_default_scope('mmdense')
    loader = dict(
        batch_size=2,
        sampler=dict(type='SeededInfiniteSampler', shuffle=True, seed=3),
        dataset=dict(
            type='RoomsDataset',
            tasks={name: dict(type=name.title()) for name in ('depth', 'normal', 'part')},
            length=3,
            size=(24, 32),
            pipeline=FILES[stem][key],
        ),
    )
    streams = []
    for workers in (0, 2):
        batches = iter(Runner.build_dataloader(dict(loader, num_workers=workers), seed=0))
        streams.append([next(batches) for _ in range(3)])
    for one, other in zip(*streams):
        assert all(map(torch.equal, one['inputs'], other['inputs']))
        for a, b in zip(one['data_samples'], other['data_samples']):
            assert torch.equal(a.gt_normal.data, b.gt_normal.data)
            assert torch.equal(a.gt_depth_map.data, b.gt_depth_map.data)
            assert a.metainfo['sample_id'] == b.metainfo['sample_id']
