"""Every public config is built by existing: it parses, and its model builds on the meta device."""

import importlib.util
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdense.models.utils.pretrained import compare_state_dicts
from mmdense.registry import EVALUATORS, MODELS, TASKS, TRANSFORMS, VISUALIZERS
from mmdense.tasks import build_tasks
from mmdense.utils.config_check import check_config

ROOT = Path(__file__).parents[1] / 'configs'
CONFIGS = sorted(p for p in ROOT.glob('*/*.py') if p.parent.name != '_base_')
#: Name of the data in file names to the data sets that it stands for.
DATA_SETS = dict(
    rooms=('Rooms',),
    folder=('Folder',),
    nyud=('NYUDv2',),
    nyuv2=('NYUv2',),
    pascal=('PASCALContext',),
    cityscapes=('Cityscapes', 'CityscapesSmall'),
    taskonomy=('Taskonomy',),
)


@cache
def load(path):
    return Config.fromfile(path)


COMPILED = all(importlib.util.find_spec(name) for name in ('mmdet', 'mmcv._ext'))
#: What cannot even be built without them.
NEEDS_OPS = 'Mask2FormerEmbedding'


def builds(path):
    """A config, skipped where its model needs compiled ops that are not there."""
    if NEEDS_OPS not in str(load(path).model):
        return path
    absent = pytest.mark.skipif(not COMPILED, reason='needs mmdet and the compiled ops of mmcv')
    return pytest.param(path, marks=[pytest.mark.ops, absent])


@pytest.mark.parametrize('path', [builds(path) for path in CONFIGS], ids=lambda p: p.stem)
def test_config_builds(path):
    init_default_scope('mmdense')
    cfg = load(path)
    assert not check_config(cfg)
    tasks = build_tasks(cfg.tasks)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert list(model.tasks) == list(tasks)
    assert sum(p.numel() for p in model.parameters()) > 1e5
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        read = list(build_tasks(dataset.tasks))
        # Training may read the labels that ATRC's crops look at without learning them.
        assert read == list(tasks) or (split == 'train' and read == ['semseg', *tasks])
        for transform in dataset.pipeline:
            TRANSFORMS.build(transform)
    for key in ('val_evaluator', 'test_evaluator'):
        assert EVALUATORS.build(cfg[key]).metrics
        # A child config can replace the metrics of one task; None could not be merged with.
        assert cfg[key].metrics is not None
    assert VISUALIZERS.get(cfg.visualizer.type)
    assert all(TASKS.get(task.type) for task in cfg.tasks.values())


def length_of(schedule):
    """Iterations after which a schedule has come to its end."""
    if 'periods' in schedule:
        return sum(schedule.periods)
    return schedule.get('T_max') or schedule.total


@pytest.mark.parametrize('path', CONFIGS, ids=lambda p: p.stem)
def test_config_is_named_after_its_content(path):
    cfg = load(path)
    _, _, schedule, data = path.stem.split('_')[:4]
    batch = int(schedule.split('-')[0].split('xb')[1])
    assert cfg.train_dataloader.batch_size == batch
    length = schedule.split('-')[1]
    if length != 'quickstart':
        decay = cfg.param_scheduler[0]
        if length.endswith('e'):
            epochs = int(length.removesuffix('e'))
            assert cfg.train_cfg.max_epochs == epochs == decay.end and decay.by_epoch
            # An epoch ends: the sampler does not go round and round.
            assert cfg.train_dataloader.sampler.type == 'DefaultSampler'
        else:
            iters = int(length.removesuffix('k')) * (1000 if length.endswith('k') else 1)
            assert cfg.train_cfg.max_iters == iters == length_of(decay)
    names = DATA_SETS[data.split('-')[0]]
    assert cfg.train_dataloader.dataset.type.removesuffix('Dataset') in names


FINETUNED = [p for p in CONFIGS if load(p).get('load_from')]


@pytest.mark.parametrize('path', FINETUNED, ids=lambda p: p.stem)
def test_pretrained_model_fits_the_one_it_is_loaded_into(path):
    """What `load_report.drop` leaves of the pre-training config's model loads completely."""
    init_default_scope('mmdense')
    cfg = load(path)
    source = next(p for p in CONFIGS if p.stem == Path(cfg.load_from).parent.name)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
        pretrained = MODELS.build(load(source).model)
    drop = cfg.default_hooks.load_report.get('drop', ())
    report = compare_state_dicts(model, pretrained.state_dict(), drop)
    assert not report.missing and not report.mismatched
    assert bool(report.dropped) == bool(drop)
    iters = int(Path(cfg.load_from).stem.removeprefix('iter_'))
    assert iters == load(source).train_cfg.max_iters
