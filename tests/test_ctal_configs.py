"""What the configs of CTAL and of the networks beside it promise."""

import re
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from config_files import load_file
from mmengine.optim import OptimWrapper

from mmdense.evaluation import delta_m
from mmdense.registry import MODELS, PARAM_SCHEDULERS

sys.path.insert(0, str(Path(__file__).parent))
from conformance_utils import random_batch

FOLDER = Path(__file__).parents[1] / 'configs'
NYUV2, CITYSCAPES = '1xb8-19800_nyuv2-288x384', '1xb8-27825_cityscapes-128x256'
PASCAL, ROOMS = '1xb8-43680_pascal-512x512', '1xb8-600_rooms-96x128'
#: Parameters of the released networks, in order of COLUMNS.
COLUMNS = (f'hrnet18_{NYUV2}', f'hrnet18_{CITYSCAPES}', f'swinv2-s_{PASCAL}')
TOTALS = {
    'mtl': (4_086_457, 4_013_560, 82_090_780),
    'pad-net': (12_077_440, 7_008_262, 88_540_478),
    'pap-net': (4_780_425, 4_501_770, 60_360_663),
    'mti-net': (12_638_901, 8_566_734),
    'ctal-ss': (6_057_216, 5_262_854, 62_179_134),
    'ctal-ms': (11_149_783, 8_474_086),
}
STL_TOTALS = {COLUMNS[0]: 11_807_897, COLUMNS[1]: 7_874_280, COLUMNS[2]: 277_964_548}
#: What a joint affinity of its own for every further task adds: tokens x (tasks x 9 + 1).
PER_TASK = {COLUMNS[0]: 2 * 6912 * 28, COLUMNS[1]: 2048 * 19, COLUMNS[2]: 4 * 256 * 46}
#: The survey (TPAMI 2021) and its Cross-Stitch, NDDR-CNN and MTAN.
SURVEY = {
    'mtl_r50_1xb8-9900_nyud-480x640': 55_769_449,
    'cross-stitch_r50_1xb8-4950_nyud-480x640': 79_292_841,
    'nddr-cnn_r50_1xb8-4950_nyud-480x640': 101_591_721,
    'mtan_r50_1xb8-9900_nyud-480x640': 72_052_713,
}
RELEASED = [
    f'{method}_{column}' for method, row in TOTALS.items() for column, _ in zip(COLUMNS, row)
]
METHODS = (
    'ctal-ss',
    'ctal-ms',
    'pad-net',
    'pap-net',
    'mti-net',
    'cross-stitch',
    'nddr-cnn',
    'mtan',
)


def path_of(stem):
    (path,) = [p for p in FOLDER.glob(f'*/{stem}.py') if p.parent.name != '_base_']
    return path


@cache
def load(stem):
    return load_file(path_of(stem))


@cache
def build(stem):
    with torch.device('meta'):
        return MODELS.build(load(stem).model, default_args=dict(_scope_='mmdense'))


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize('method', TOTALS)
@pytest.mark.parametrize('index', range(3))
def test_number_of_parameters(method, index):
    if index == len(TOTALS[method]):
        pytest.skip('SwinV2 has one level: there is no multi-scale form')
    stem, expected = f'{method}_{COLUMNS[index]}', TOTALS[method][index]
    if not method.startswith('ctal'):
        # Released twins differ in switches that hold no parameters; see below.
        assert count(build(stem)) == expected
        return
    assert count(build(f'{stem}_released')) == expected
    assert count(build(stem)) == expected + PER_TASK[COLUMNS[index]]


@pytest.mark.parametrize('column', COLUMNS)
def test_single_task_networks_have_the_parameters_published_for_them_together(column):
    """The backbone of the baseline once per task, and its heads; the twins are compared below."""
    model = build(f'mtl_{column}')
    total = len(model.tasks) * count(model.backbone) + count(model.heads)
    assert total == STL_TOTALS[column]
    first = next(iter(model.tasks))
    alone = build(f'stl_{column}_{first}')
    assert count(alone) == count(model.backbone) + count(model.heads[first])


@pytest.mark.parametrize(('stem', 'total'), SURVEY.items())
def test_number_of_parameters_of_the_survey(stem, total):
    assert count(build(stem)) == total


def test_per_task_affinity_costs_what_is_published_for_nyuv2():
    assert PER_TASK[COLUMNS[0]] == 387_072


@pytest.mark.parametrize('stem', RELEASED)
def test_released_twin_differs_in_named_switches_alone(stem):
    method, column = stem.split('_', 1)
    twin, default = load(f'{stem}_released').to_dict(), load(stem).to_dict()
    neck = twin['model'].get('neck', {})
    switches = {
        'ctal-ss': [('affinity', 'joint_affinity', 'shared')],
        'ctal-ms': [
            ('affinity', 'joint_affinity', 'shared'),
            ('initial_heads', 'fpm_softmax', 'released'),
        ],
        'pap-net': [('propagation', 'affinity', 'released')],
        'mti-net': [('initial_heads', 'fpm_softmax', 'released')],
    }
    for part, key, value in switches.get(method, ()):
        assert neck[part].pop(key) == value
    if column.startswith('hrnet18'):
        ours, theirs = twin['model']['data_preprocessor'], default['model']['data_preprocessor']
        assert (ours.pop('mean'), ours.pop('std')) == (0.0, 255.0)
        assert theirs.pop('mean') == (123.675, 116.28, 103.53)
        assert theirs.pop('std') == (58.395, 57.12, 57.375)
    else:
        assert twin['optim_wrapper']['optimizer'].pop('weight_decay') == 1e-5
        assert default['optim_wrapper']['optimizer'].pop('weight_decay') == 1e-4
        del twin['released_metrics']
        for key in ('val_evaluator', 'test_evaluator'):
            metrics = twin[key].pop('metrics')
            assert metrics['saliency'][0]['sigmoid_again']
            assert not metrics['boundary'][0]['logit_of_probability']
            assert default[key].pop('metrics') == {}
    if stem == f'ctal-ss_swinv2-s_{PASCAL}':
        assert twin['model']['balancer']['weights'].pop('semseg') == 2
        assert default['model']['balancer']['weights'].pop('semseg') == 1
    if 'nyuv2' in stem:
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            assert twin[loader]['dataset'].pop('valid_rule') == 'sum'
    assert twin == default


@pytest.mark.parametrize('method', [m for m in TOTALS if m != 'mtl' and m != 'pad-net'])
def test_released_twin_on_rooms(method):
    twin = load(f'{method}_r18-thin_{ROOMS}_released').to_dict()
    default = load(f'{method}_r18-thin_{ROOMS}').to_dict()
    changed = {
        (part, key)
        for part, cfg in twin['model']['neck'].items()
        for key in cfg
        if cfg[key] != default['model']['neck'][part].get(key)
    }
    assert changed and changed <= {
        ('affinity', 'joint_affinity'),
        ('initial_heads', 'fpm_softmax'),
        ('propagation', 'affinity'),
    }
    del twin['model']['neck'], default['model']['neck']
    assert twin == default


SINGLE = [
    p.stem
    for p in FOLDER.glob('baselines/stl_*')
    if re.search('hrnet18|swinv2|r50|r18_|ctal', p.stem)
]


@pytest.mark.parametrize('stem', sorted(SINGLE))
def test_single_task_twin_is_the_baseline_with_one_head(stem):
    """The same network, pictures, transforms, schedule and weight of the task; one task."""
    twin = load(stem)
    base, _, task = stem.rpartition('-' if 'rooms' in stem else '_')
    baseline = load('mtl' + base.removeprefix('stl'))
    assert list(twin.tasks) == [task] == list(twin.model.heads)
    assert twin.tasks[task] == baseline.tasks[task]
    for part in ('backbone', 'data_preprocessor'):
        assert twin.model[part] == baseline.model[part], part
    assert twin.model.heads[task] == baseline.model.heads[task]
    assert twin.model.balancer.weights == {task: baseline.model.balancer.weights[task]}
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        ours, theirs = twin[loader].to_dict(), baseline[loader].to_dict()
        for cfg in (ours, theirs):
            cfg['dataset'].pop('tasks')
        assert ours == theirs, loader
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg'):
        assert twin[key] == baseline[key], key
    for key in ('profile', 'data', 'metrics'):
        assert twin.val_evaluator[key] == baseline.val_evaluator[key]


def rates(stem, steps):
    """Learning rate of the first ``steps`` iterations, as a runner sets it."""
    cfg = load(stem)
    rate = cfg.optim_wrapper.optimizer.lr
    wrapper = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], rate))
    (schedule,) = cfg.param_scheduler
    scheduler = PARAM_SCHEDULERS.build(dict(schedule), default_args=dict(optimizer=wrapper))
    found = []
    for _ in range(steps):
        found.append(wrapper.get_lr()['lr'][0])
        wrapper.optimizer.step()
        scheduler.step()
    return torch.tensor(found, dtype=torch.float64)


def cosine(steps):
    return (1 + torch.cos(torch.pi * torch.arange(steps, dtype=torch.float64) / steps)) / 2


@pytest.mark.parametrize(
    ('method', 'column', 'rate'), [('ctal-ms', NYUV2, 1e-4), ('ctal-ss', CITYSCAPES, 5e-4)]
)
def test_rate_follows_one_cosine(method, column, rate):
    steps = load(f'{method}_hrnet18_{column}').train_cfg.max_iters
    found = rates(f'{method}_hrnet18_{column}', steps)
    assert torch.allclose(found, rate * cosine(steps), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize('method', ['mti-net', 'ctal-ms'])
def test_rate_of_multi_scale_models_restarts_on_cityscapes(method):
    """SGDR with T_0 = 25 epochs and T_mult = 2, in iterations: at full rate in epoch 26."""
    found = rates(f'{method}_hrnet18_{CITYSCAPES}', 27_825)
    expected = torch.cat([cosine(25 * 371), cosine(50 * 371)])
    assert torch.allclose(found, 5e-4 * expected, rtol=1e-6, atol=1e-12)
    assert found[25 * 371 - 1] < 1e-10 and found[25 * 371] == 5e-4


@pytest.mark.parametrize('stem', [s for s in RELEASED if 'swinv2' not in s])
def test_protocol(stem):
    """Adam with coupled decay, no clipping, a flip, the losses and weights of the paper."""
    cfg = load(stem)
    nyuv2 = 'nyuv2' in stem
    rate = 1e-4 if nyuv2 else 5e-4
    assert cfg.optim_wrapper == dict(
        type='OptimWrapper', optimizer=dict(type='Adam', lr=rate, weight_decay=1e-4)
    )
    epochs = cfg.train_cfg.max_iters / (795 // 8 if nyuv2 else 2975 // 8)
    assert epochs == (200 if nyuv2 else 75)
    assert [t.type for t in cfg.train_dataloader.dataset.pipeline] == [
        'TaskAwareFlip', 'PackDenseInputs',
    ]  # fmt: skip
    assert [t.type for t in cfg.val_dataloader.dataset.pipeline] == ['PackDenseInputs']
    assert cfg.val_evaluator.profile == 'ctal'
    assert cfg.tasks.depth.activation == 'identity'
    depth = 1.0 if nyuv2 else 10.0
    weights = dict(semseg=1.0, depth=depth, **(dict(normal=1.0) if nyuv2 else {}))
    assert cfg.model.balancer.weights == weights
    if nyuv2:
        assert cfg.tasks.normal.losses == [dict(type='CosineLoss')]
    else:
        assert cfg.train_dataloader.dataset.label_folder == 'label_19'
    assert cfg.model.backbone.norm_cfg == dict(type='BN', momentum=0.01)
    for head in cfg.model.heads.values():
        assert head.intermediate_reduction == 'mean' and head.align_corners is False


def test_protocol_of_pascal():
    cfg = load(f'ctal-ss_swinv2-s_{PASCAL}')
    assert cfg.optim_wrapper.optimizer == dict(type='Adam', lr=2e-5, weight_decay=1e-4)
    assert cfg.train_cfg.max_iters == 70 * (4998 // 8)
    expected = dict(semseg=1.0, part=2.0, saliency=5.0, normal=10.0, boundary=50.0)
    assert cfg.model.balancer.weights == expected
    assert cfg.val_evaluator.profile == 'ctal'
    assert cfg.model.neck.affinity.norm_act and cfg.model.neck.affinity.feat_size == (16, 16)
    assert build(f'ctal-ss_swinv2-s_{PASCAL}').backbone.channels == (768,)


@pytest.mark.parametrize('method', ['ctal-ss', 'ctal-ms'])
@pytest.mark.parametrize(
    ('suffix', 'key', 'value'),
    [
        ('gamma0.025', 'gamma', 0.025),
        ('gamma0.1', 'gamma', 0.1),
        ('f5', 'filter_size', 5),
        ('f7', 'filter_size', 7),
    ],
)
def test_sweeps_change_one_number(method, suffix, key, value):
    default = load(f'{method}_hrnet18_{NYUV2}').to_dict()
    changed = load(f'{method}_hrnet18_{NYUV2}_{suffix}').to_dict()
    assert default['model']['neck']['affinity'].pop(key) == (0.05 if key == 'gamma' else 3)
    assert changed['model']['neck']['affinity'].pop(key) == value
    assert changed == default


@pytest.mark.parametrize('method', METHODS)
def test_rooms_configs_share_data_backbone_and_schedule(method):
    cfg, baseline = load(f'{method}_r18-thin_{ROOMS}'), load(f'mtl_r18-thin_{ROOMS}_ctal')
    for key in ('tasks', 'train_dataloader', 'val_dataloader', 'val_evaluator', 'optim_wrapper',
                'param_scheduler', 'train_cfg'):  # fmt: skip
        assert cfg[key] == baseline[key], key
    own = cfg.model.backbone
    shared = own.get('backbone', own).to_dict()
    assert shared == baseline.model.backbone.to_dict()
    assert cfg.model.data_preprocessor == baseline.model.data_preprocessor


def test_single_task_and_multi_task_losses_count_once():
    """One term per task; the initial predictions add one more, the mean of their losses."""
    for stem, keys in ((f'mtl_r18-thin_{ROOMS}_ctal', 1), (f'mti-net_r18-thin_{ROOMS}', 2)):
        torch.manual_seed(0)
        model = MODELS.build(load(stem).model, default_args=dict(_scope_='mmdense'))
        batch = model.data_preprocessor(random_batch(model, [(96, 128)] * 2), training=True)
        losses = model(**batch, mode='loss')
        expected = {f'{t}.{k}' for t in model.tasks for k in ('loss_final', 'loss_init')[:keys]}
        assert {key for key in losses if 'loss' in key} == expected


@pytest.mark.parametrize('key', ['cross_stitch', 'nddr'])
@pytest.mark.parametrize('data', ['r50_1xb8-4950_nyud-480x640', 'r18_1xb12-8320_pascal-512x512'])
def test_exchange_learns_a_hundred_times_faster(key, data):
    method = {'cross_stitch': 'cross-stitch', 'nddr': 'nddr-cnn'}[key]
    cfg = load(f'{method}_{data}')
    assert cfg.optim_wrapper.paramwise_cfg.custom_keys == {key: dict(lr_mult=100.0)}
    names = [name for name, _ in build(f'{method}_{data}').named_parameters() if key in name]
    assert names and all(name.startswith(f'backbone.{key}.') for name in names)
    assert cfg.optim_wrapper.optimizer.type == 'SGD'
    assert cfg.model.backbone.get('alpha', 0.9) == (0.9 if 'nyud' in data else 0.8)


# -- published tables -------------------------------------------------------


def tables():
    """Tables of the page, each a list of rows by column."""
    found, head = [], None
    for line in (FOLDER / 'ctal/README.md').read_text().splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')] if line[:1] == '|' else None
        if cells is None:
            head = None
        elif head is None:
            head = cells
            found.append([])
        elif not set(line) <= set('|-: '):
            found[-1].append(dict(zip(head, cells)))
    return [table for table in found if table and 'again' in table[0]]


def number(cell):
    return float(cell.split()[0])


HIGHER = {'mIoU': True, 'relErr': False, 'normals mErr': False}
PUBLISHED = [(i, row) for i, table in enumerate(tables()) for row in table]
#: The one slip of the paper: table, model, what is printed, what is right.
SLIP = (0, 'MTI-Net', 2.64, 3.04)


def test_published_tables_are_all_there():
    assert [len(table) for table in tables()] == [7, 7, 10]


@pytest.mark.parametrize(
    ('table', 'row'),
    PUBLISHED,
    ids=lambda v: ' '.join(v.values())[:30] if isinstance(v, dict) else '',
)
def test_delta_m_reproduces_the_published_value(table, row):
    single = tables()[1 if table == 1 else 0][0]
    names = [name for name in HIGHER if name in row]
    values, base = ({f'{n}/x': number(r[n]) for n in names} for r in (row, single))
    found = delta_m(values, base, {f'{n}/x': HIGHER[n] for n in names})
    assert found == pytest.approx(number(row['again']), abs=0.0101)
    slip = (table, row['Model'], number(row['Delta_m']), number(row['again'])) == SLIP
    assert slip or found == pytest.approx(number(row['Delta_m']), abs=0.0101)


def test_the_slip_of_the_paper_is_one_row():
    differing = [
        (i, row['Model'], number(row['Delta_m']), number(row['again']))
        for i, row in PUBLISHED
        if row['Delta_m'] != row['again']
    ]
    assert differing == [SLIP]
