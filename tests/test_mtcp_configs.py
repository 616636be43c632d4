"""What the configs of MT-CP promise: sizes, protocol, ablations, twins."""

import importlib.util
from functools import cache
from pathlib import Path

import pytest
import torch
from config_files import load_file

from mmdense.registry import EVALUATORS, MODELS

FOLDER = Path(__file__).parents[1] / 'configs' / 'mtcp'
NYUD = 'mask2former-swin-s_1xb2-100e_nyud-480x640'
PASCAL = 'mask2former-swin-s_1xb2-100e_pascal-512x512'
ROOMS = 'r18-thin_1xb8-600_rooms-96x128'
COMPILED = all(importlib.util.find_spec(name) for name in ('mmdet', 'mmcv._ext'))
#: Mask2Former without its class layer.
SHARED = 68_718_730
TOTALS = {
    f'mtcp_{NYUD}': SHARED + 82_664_852,
    f'mtcp_{NYUD}_released': SHARED + 82_664_852,
    f'mtcp_{NYUD}_wo-cfm': SHARED + 82_664_852 - 3 * 481_264,
    f'mtcp_{NYUD}_wo-srm': SHARED + 82_664_852 - 3 * 3_370_040 - 812_120,
    f'mtcp_{NYUD}_wo-cfm-srm': SHARED + 3 * (22_323_272 + 1_049_600) + 180_204,
    f'mtcp_{NYUD}_cfm-prediction': SHARED + 82_664_852 + 406_060,
    f'mtcp_{PASCAL}': SHARED + 82_420_391,
    f'mtcp_{PASCAL}_released': SHARED + 82_420_391,
    f'stl_{NYUD}_depth': SHARED + 22_323_272 + 1_049_600 + 37_057,
    f'stl_{PASCAL}_saliency': SHARED + 22_323_272 + 1_049_600 + 66_305,
    'mtcp_mask2former-tiny_1xb8-600_rooms-96x128': 4_230_227,
    f'mtcp_{ROOMS}': 4_133_267,
    f'mtcp_{ROOMS}_wo-cfm': 4_107_647,
    f'mtcp_{ROOMS}_wo-srm': 3_956_213,
    f'mtcp_{ROOMS}_wo-cfm-srm': 3_930_593,
}
#: Suffix to what the file changes of its base, and nothing else.
ABLATIONS = {
    'wo-cfm': dict(neck=dict(with_cfm=False)),
    'wo-srm': dict(neck=dict(with_srm=False)),
    'wo-cfm-srm': dict(neck=dict(with_cfm=False, with_srm=False)),
    'cfm-prediction': dict(neck=dict(predict_from_cfm=True)),
    'log-smoothing': dict(balancer=dict(log_mode='loss', prioritize=False)),
    'prioritization': dict(balancer=dict(log_mode='none')),
    'kappa1': dict(balancer=dict(spread=1.0)),
    'kappa1p6': dict(balancer=dict(spread=1.6)),
    'kappa5': dict(balancer=dict(spread=5.0)),
    'kappa7p5': dict(balancer=dict(spread=7.5)),
}


@cache
def load(stem):
    return load_file(FOLDER / f'{stem}.py')


def build(stem):
    with torch.device('meta'):
        return MODELS.build(load(stem).model, default_args=dict(_scope_='mmdense'))


def buildable(stem):
    """A config, skipped where its model needs compiled ops that are not there."""
    if 'mask2former' not in stem:
        return stem
    absent = pytest.mark.skipif(not COMPILED, reason='needs mmdet and the compiled ops of mmcv')
    return pytest.param(stem, marks=[pytest.mark.ops, absent])


@pytest.mark.parametrize('stem', [buildable(stem) for stem in TOTALS])
def test_number_of_parameters(stem):
    assert sum(p.numel() for p in build(stem).parameters()) == TOTALS[stem]


@pytest.mark.parametrize('suffix', ABLATIONS)
def test_ablation_changes_its_switch_alone(suffix):
    found = list(FOLDER.glob(f'*_{suffix}.py'))
    assert found
    for path in found:
        twin = load(path.stem).to_dict()
        base = load(path.stem.removesuffix(f'_{suffix}')).to_dict()
        for part, changes in ABLATIONS[suffix].items():
            for key, value in changes.items():
                assert twin['model'][part].pop(key) == value
                base['model'][part].pop(key, None)
        assert twin == base


@pytest.mark.parametrize(('suffix', 'reduction'), [('ew', 'mean'), ('ew-sum', 'sum')])
def test_equal_weights_leave_intermediate_predictions_alone(suffix, reduction):
    twin, base = (load(f'mtcp_{NYUD}{s}').to_dict() for s in (f'_{suffix}', ''))
    weights = twin['model'].pop('balancer')
    assert weights == dict(type='EqualWeights', reduction=reduction, aux_losses='added')
    assert base['model'].pop('balancer')['type'] == 'LossPrioritization'
    assert twin == base


@pytest.mark.parametrize('data', [NYUD, PASCAL])
def test_protocol(data):
    cfg = load(f'mtcp_{data}')
    optimizer = dict(type='AdamW', lr=5e-5, betas=(0.9, 0.999), weight_decay=1e-4)
    assert cfg.optim_wrapper.to_dict() == dict(type='OptimWrapper', optimizer=optimizer)
    (decay,) = cfg.param_scheduler
    assert (decay.type, decay.power, decay.end, decay.by_epoch) == ('PolyLR', 0.9, 100, True)
    loader = cfg.train_dataloader
    assert (loader.batch_size, loader.drop_last, loader.sampler.shuffle) == (2, True, True)
    balancer = dict(type='LossPrioritization', history=3, spread=2.5)
    assert cfg.model.balancer.to_dict() == balancer
    every = 10 if data == NYUD else 25
    assert cfg.train_cfg.val_interval == every and cfg.train_cfg.dynamic_intervals == [(91, 1)]
    assert all('intermediate_weight' not in head for head in cfg.model.heads.values())
    start = cfg.model.backbone.init_cfg.checkpoint
    assert start == cfg.model.neck.embedding.init_cfg.checkpoint and start.endswith('e715144e.pth')
    assert cfg.model.backbone.drop_path_rate == 0.3 and not cfg.get('sync_bn')


def test_losses_of_the_paper():
    tasks = load(f'mtcp_{NYUD}').tasks
    assert tasks.normal.losses == [dict(type='MaskedL1Loss', channel_reduction='mean')]
    assert tasks.depth.max_depth == 100.0
    assert load(f'mtcp_{PASCAL}').tasks.saliency.losses[0].positive_weight is None


@pytest.mark.parametrize('data', [NYUD, PASCAL])
def test_released_twin(data):
    """Sum of the losses, intermediate predictions at half weight, no ReLU, no cosine distance."""
    cfg = load(f'mtcp_{data}_released')
    assert cfg.model.neck.released is True
    assert {head.intermediate_weight for head in cfg.model.heads.values()} == {0.5}
    weights = dict(type='EqualWeights', reduction='sum', aux_losses='added')
    assert cfg.model.balancer.to_dict() == weights
    assert cfg.val_evaluator.metrics == {} and cfg.val_evaluator.profile == 'mtcp'
    if data == NYUD:
        assert cfg.tasks.depth.max_depth == 6.5535
        assert cfg.tasks.normal.activation == 'identity'
        assert cfg.tasks.normal.losses[0].type == 'MaskedL2Loss'
        assert cfg.model.heads.normal.auxiliary_losses[0].type == 'MaskedL1Loss'


def test_both_depth_errors_are_reported():
    """Over all pixels, which counts, and below 6.5535 m as published."""
    evaluator = EVALUATORS.build(
        dict(load(f'mtcp_{NYUD}').val_evaluator), default_args=dict(_scope_='mmdense')
    )
    depth = {m.prefix: m for m in evaluator.metrics if m.prefix.startswith('depth')}
    assert set(depth) == {'depth', 'depth_near'}
    assert depth['depth'].max_depth is None and depth['depth_near'].max_depth == 6.5535


@pytest.mark.parametrize(
    'path',
    sorted(p for p in FOLDER.glob('stl_*') if not p.stem.endswith('stage1')),
    ids=lambda path: path.stem,
)
def test_single_task_twin(path):
    """The same network without coherence fusion and refinement, pictures and schedule; one task."""
    twin = load(path.stem)
    base, _, task = path.stem.rpartition('-' if 'rooms' in path.stem else '_')
    model = load('mtcp' + base.removeprefix('stl').removesuffix('_mtcp'))
    assert list(twin.tasks) == [task] == list(twin.model.heads)
    assert twin.tasks[task] == model.tasks[task]
    assert twin.model.heads[task] == model.model.heads[task]
    assert twin.model.backbone == model.model.backbone
    neck = twin.model.neck.to_dict()
    assert neck.pop('with_cfm') is False and neck.pop('with_srm') is False
    expected = model.model.neck.to_dict()
    expected.pop('intermediate_convs', None)
    assert neck == expected
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg'):
        assert twin[key] == model[key], key
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        ours, theirs = twin[loader].to_dict(), model[loader].to_dict()
        for cfg in (ours, theirs):
            assert list(cfg['dataset'].pop('tasks')) in ([task], list(model.tasks))
        assert ours == theirs, loader
    for key in ('val_evaluator', 'test_evaluator'):
        assert list(twin[key].tasks) == [task]
        metrics = model[key].metrics
        assert twin[key].metrics == ({task: metrics[task]} if task in metrics else {})


@pytest.mark.parametrize('task', ['semseg', 'depth', 'normal'])
def test_single_task_model_of_the_released_code(task):
    cfg = load(f'stl_{NYUD}_{task}_stage1')
    assert cfg.model.neck.decoder_output == 'stage1'
    assert cfg.model.heads[task].upsample == 2
