"""What the configs of InvPT promise: sizes, costs, losses, schedule, weights to start from."""

from functools import cache
from pathlib import Path

import pytest
import torch
from config_files import load_file

from mmdense.apis.complexity import measure_complexity
from mmdense.models.utils import compare_state_dicts
from mmdense.registry import MODELS

FOLDER = Path(__file__).parents[1] / 'configs' / 'invpt'
NYUD, PASCAL = '3xb2-40k_nyud-448x576', '3xb2-40k_pascal-512x512'
ROOMS = 'vit-tiny_1xb8-600_rooms-96x128'
SIZES = {NYUD: (448, 576), PASCAL: (512, 512)}
BACKBONES = ('vit-l', 'vit-b', 'swin-l')
TOTALS = {
    f'vit-l_{NYUD}': 395_451_022,
    f'vit-b_{NYUD}': 155_509_134,
    f'swin-l_{NYUD}': 341_450_274,
    f'vit-l_{PASCAL}': 415_954_728,
    f'vit-b_{PASCAL}': 170_699_816,
    f'swin-l_{PASCAL}': 376_094_396,
    ROOMS: 7_462_408,
}
#: Width of the encoder, parameters (M) and multiply-accumulates (G) of the released definition.
RELEASED = {
    f'vit-l_{NYUD}': (1024, 402.09, 601.9),
    f'vit-b_{NYUD}': (768, 160.8, 343.7),
    f'vit-l_{PASCAL}': (1024, 422.93, 672.4),
    f'vit-b_{PASCAL}': (768, 176.4, 408.2),
}


@cache
def load(name):
    return load_file(FOLDER / f'invpt_{name}.py')


@cache
def build(name):
    with torch.device('meta'):
        return MODELS.build(load(name).model, default_args=dict(_scope_='mmdense'))


def count(module):
    return sum(p.numel() for p in module.parameters())


def unused(name):
    """Parameters that the released definition has and never trains."""
    width, tasks = RELEASED[name][0], len(load(name).tasks)
    skip = 9 * width * 576 + 576
    reductions = tasks * (576 * 576 + 576)
    fusion = 2 * 4 + 2
    norm = 2 * 144 * tasks
    return skip + reductions + fusion + norm


@pytest.mark.parametrize(('name', 'total'), TOTALS.items())
def test_number_of_parameters(name, total):
    assert count(build(name)) == total


@pytest.mark.parametrize('name', RELEASED)
def test_released_count_less_what_is_never_trained(name):
    released = RELEASED[name][1]
    # Counted elsewhere to two decimals for ViT-L, to one and roughly for ViT-B.
    precision = 0.005 if 'vit-l' in name else 0.06
    assert (TOTALS[name] + unused(name)) / 1e6 == pytest.approx(released, abs=precision)
    if name == f'vit-l_{NYUD}':
        assert round(unused(name) / 1e6, 2) == 6.64
        assert round(TOTALS[name] / 1e6, 2) == 395.45


def test_parts():
    model = build(f'vit-l_{NYUD}')
    decoder, transformer = model.neck
    assert count(model.backbone) == 304_133_120
    assert round(count(transformer.skips) / 1e6 + 9 * 1024 * 576 / 1e6, 1) == 9.3
    assert count(decoder.decoders) + count(decoder.predictors) == 56_658_477


@pytest.mark.parametrize(
    'name',
    [n if n == f'vit-b_{NYUD}' else pytest.param(n, marks=pytest.mark.slow) for n in RELEASED],
)
def test_multiply_accumulates(name):
    """Those of the released definition but the third skip, which it computes for nobody."""
    width, _, released = RELEASED[name]
    height, columns = SIZES[name.split('_', 1)[1]]
    skip = 9 * width * 576 * (height // 16) * (columns // 16)
    rows = measure_complexity(load(name), (height, columns))
    assert (rows[-1].macs + skip) / 1e9 == pytest.approx(released, rel=2e-3)


@pytest.mark.parametrize('data', SIZES)
@pytest.mark.parametrize('backbone', BACKBONES)
def test_protocol(backbone, data):
    """Coupled decay, one rate, no warm-up, 6 pictures, InvPT's losses and weights."""
    cfg = load(f'{backbone}_{data}')
    assert cfg.optim_wrapper == dict(
        type='OptimWrapper', optimizer=dict(type='Adam', lr=2e-5, weight_decay=1e-6)
    )
    (schedule,) = cfg.param_scheduler
    assert (schedule.total, schedule.power, schedule.get('warmup', 0)) == (40_000, 0.9, 0)
    assert cfg.train_cfg.val_interval == 1000 and cfg.randomness.seed == 0
    assert cfg.sync_bn == 'torch' and cfg.auto_scale_lr.base_batch_size == 6
    assert cfg.tasks.boundary.losses == [dict(type='BalancedBCELoss', positive_weight=0.95)]
    assert cfg.tasks.normal.losses == [dict(type='MaskedL1Loss', channel_reduction='sum')]
    assert cfg.model.tasks == cfg.tasks
    weights = dict(semseg=1.0, normal=10.0, boundary=50.0)
    weights.update(dict(depth=1.0) if data == NYUD else dict(part=2.0, saliency=5.0))
    assert cfg.model.balancer.weights == weights
    model = build(f'{backbone}_{data}')
    channels = [task.num_channels for task in model.tasks.values()]
    assert channels == ([40, 1, 3, 1] if data == NYUD else [21, 7, 2, 3, 1])
    # Preliminary predictions are trained as the final ones are.
    assert all(head.intermediate_weight == 1 for head in model.heads.values())
    assert [len(head.convs) for head in model.heads.values()] == [0] * len(channels)
    pipelines = [cfg[f'{split}_dataloader'].dataset.pipeline for split in ('train', 'test')]
    name = 'nyud' if data == NYUD else 'pascal'
    assert pipelines == [cfg[f'{name}_train_pipeline'], cfg[f'{name}_test_pipeline']]


@pytest.mark.parametrize('data', SIZES)
def test_encoders(data):
    for name, taps in (('vit-l', (6, 12, 18, 24)), ('vit-b', (3, 6, 9, 12))):
        backbone = build(f'{name}_{data}').backbone
        assert backbone.taps == taps
        assert backbone.grid == tuple(n // 16 for n in SIZES[data])
        rates = [block.drop_path.drop_prob for block in backbone.blocks]
        assert rates[0] == 0 and rates[-1] == pytest.approx(0.15)
        source = load(f'{name}_{data}').model.backbone.init_cfg
        letter = name[-1].upper()
        file = source.checkpoint.rsplit('/', 1)[1]
        assert file.startswith(f'{letter}_16-i21k') and file.endswith('res_384.npz')
        assert source == load(f'{name}_{NYUD}').model.backbone.init_cfg
    decoder, transformer = build(f'swin-l_{data}').neck
    assert decoder.downsample == 1 and transformer.skip_index == (2, 1)
    swin = load(f'swin-l_{data}').model.backbone
    report = compare_state_dicts(build(f'swin-l_{data}').backbone, {}, swin.init_cfg.drop)
    assert len(report.dropped) == 8


@pytest.mark.parametrize('backbone', BACKBONES)
def test_two_data_sets_differ_in_tasks_and_size_only(backbone):
    ours, theirs = (build(f'{backbone}_{data}') for data in SIZES)
    shapes = [
        {n: p.shape for n, p in model.named_parameters() if n.startswith('neck.1.stages.0.fc')}
        for model in (ours, theirs)
    ]
    assert shapes[0] == shapes[1] and shapes[0]
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'default_hooks'):
        assert load(f'{backbone}_{NYUD}')[key] == load(f'{backbone}_{PASCAL}')[key]
