"""What the configs of DeMT promise: sizes, schedule, weights to start from, twins."""

import json
from functools import cache
from pathlib import Path

import mmengine
import pytest
import torch
from config_files import load_file

from mmdense.models.necks.demt_neck import RELEASED
from mmdense.models.utils import compare_state_dicts
from mmdense.registry import MODELS

FOLDER = Path(__file__).parents[1] / 'configs' / 'demt'
NYUD, PASCAL = '8xb1-40k_nyud-425x560', '8xb1-40k_pascal-512x512'
ROOMS = 'r18-thin_1xb8-600_rooms-96x128'
BACKBONES = ('hrnet18', 'hrnet48', 'swin-t', 'swin-s', 'swin-b', 'swin-l')
WITH_ADE20K = ('swin-t', 'swin-s', 'swin-b')
#: Parameters of default, released form and multi-task baseline by data, in order of BACKBONES.
TOTALS = {
    NYUD: {
        'demt': (4_767_318, 68_861_687, 32_077_235, 53_395_139, 91_981_533, 201_594_641),
        'released': (4_764_730, 68_856_151, 32_070_259, 53_388_163, 91_973_597, 201_584_785),
        'mtl': (4_049_806, 66_345_391, 29_560_939, 50_878_843, 89_465_237, 199_078_345),
    },
    PASCAL: {
        'demt': (4_963_636, 69_614_804, 33_036_902, 54_354_806, 93_078_900, 202_967_408),
        'released': (4_960_536, 69_608_244, 33_028_902, 54_346_806, 93_069_940, 202_956_528),
        'mtl': (4_087_514, 66_551_930, 29_974_028, 51_291_932, 90_016_026, 199_904_534),
    },
}
ABLATIONS = {
    f'demt_swin-t_{NYUD}_wo-interaction-query': 30_425_267,
    f'demt_swin-t_{NYUD}_wo-query': 30_755_251,
    f'demt_swin-t_{NYUD}_d2': 32_941_563,
    f'demt_swin-t_{NYUD}_d4': 34_670_219,
    f'demt_swin-t_{NYUD}_d8': 38_127_531,
    f'demt_swin-t_{NYUD}_levels1': 31_730_483,
    f'demt_swin-t_{NYUD}_levels2': 31_780_019,
    f'demt_swin-t_{NYUD}_levels3': 31_879_091,
    # Published: 32.50 and 53.82 M.
    f'mtl_swin-t_{NYUD}_concat96': 32_502_471,
    f'mtl_swin-s_{NYUD}_concat96': 53_820_375,
    f'mtl_{ROOMS}_demt': 3_054_266,
    f'demt_{ROOMS}_wo-interaction-query': 3_231_014,
    f'demt_{ROOMS}_wo-query': 3_252_070,
    f'demt_{ROOMS}': 3_379_174,
    f'demt_{ROOMS}_released': 3_376_678,
}


def main_configs():
    for data, rows in TOTALS.items():
        for form, totals in rows.items():
            for backbone, total in zip(BACKBONES, totals):
                method = 'mtl' if form == 'mtl' else 'demt'
                suffix = '_released' if form == 'released' else ''
                yield f'{method}_{backbone}_{data}{suffix}', total


@cache
def load(stem):
    return load_file(FOLDER / f'{stem}.py')


def build(stem):
    with torch.device('meta'):
        return MODELS.build(load(stem).model, default_args=dict(_scope_='mmdense'))


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(('stem', 'total'), [*main_configs(), *ABLATIONS.items()])
def test_number_of_parameters(stem, total):
    assert count(build(stem)) == total


@pytest.mark.parametrize('path', sorted(FOLDER.glob('stl_*')), ids=lambda path: path.stem)
def test_single_task_twin_is_the_baseline_with_one_head(path):
    """The same network, pictures, transforms and weight of the task; one task."""
    twin = load(path.stem)
    base, _, task = path.stem.rpartition('-' if 'rooms' in path.stem else '_')
    baseline = load('mtl' + base.removeprefix('stl'))
    assert list(twin.tasks) == [task] == list(twin.model.heads)
    assert twin.tasks[task] == baseline.tasks[task]
    for part in ('backbone', 'neck', 'data_preprocessor'):
        assert twin.model[part] == baseline.model[part], part
    assert twin.model.heads[task] == baseline.model.heads[task]
    weights = [cfg.model.get('balancer', {}).get('weights', {}) for cfg in (twin, baseline)]
    assert weights[0].get(task) == weights[1].get(task)
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        ours, theirs = twin[loader].to_dict(), baseline[loader].to_dict()
        for cfg in (ours, theirs):
            cfg['dataset'].pop('tasks')
        assert ours == theirs, loader
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg'):
        assert twin[key] == baseline[key], key


@pytest.mark.parametrize('data', [NYUD, PASCAL])
def test_protocol(data):
    """SGD of one rate, decay on everything, no warm-up, 8 pictures, the losses of ATRC."""
    cfg = load(f'demt_swin-t_{data}')
    assert cfg.optim_wrapper == dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=1e-3, momentum=0.9, weight_decay=5e-4),
    )
    (schedule,) = cfg.param_scheduler
    assert (schedule.total, schedule.power, schedule.get('warmup', 0)) == (40_000, 0.9, 0)
    assert cfg.sync_bn == 'torch' and cfg.auto_scale_lr.base_batch_size == 8
    positive = 0.8 if data == NYUD else 0.95
    assert cfg.tasks.boundary.losses == [dict(type='BalancedBCELoss', positive_weight=positive)]
    assert cfg.tasks.normal.losses == [dict(type='MaskedL1Loss', channel_reduction='sum')]
    weights = dict(semseg=1.0, normal=10.0, boundary=50.0)
    weights.update(dict(depth=1.0) if data == NYUD else dict(part=2.0, saliency=5.0))
    assert cfg.model.balancer.weights == weights
    channels = {key: task.num_channels for key, task in build(f'demt_swin-t_{data}').tasks.items()}
    assert list(channels.values()) == ([40, 1, 3, 1] if data == NYUD else [21, 7, 2, 3, 1])


@pytest.mark.parametrize('data', [NYUD, PASCAL])
@pytest.mark.parametrize('backbone', BACKBONES)
def test_released_twin_differs_in_one_switch(backbone, data):
    twin = load(f'demt_{backbone}_{data}_released').to_dict()
    assert twin['model']['neck'].pop('released') is True
    assert twin == load(f'demt_{backbone}_{data}').to_dict()
    assert build(f'demt_{backbone}_{data}_released').neck[0].options == RELEASED


@pytest.mark.parametrize('form', ['', '_released'])
@pytest.mark.parametrize('backbone', WITH_ADE20K)
def test_ade20k_twin_differs_in_initial_weights(backbone, form):
    for data in (NYUD, PASCAL):
        twin = load(f'demt_{backbone}_{data}{form}_ade20k').to_dict()
        default = load(f'demt_{backbone}_{data}{form}').to_dict()
        start = twin['model']['backbone'].pop('init_cfg')
        default['model']['backbone'].pop('init_cfg')
        assert twin == default
        assert start == twin['ade20k'] and 'drop' not in start
        # A public file is named after its folder.
        folder, file = start['checkpoint'].split('/')[-2:]
        assert file.startswith(f'{folder}_') and folder.startswith('upernet_swin_')
        arch = twin['model']['backbone']['arch']
        assert f'_{arch}_patch4_window7_' in folder


@pytest.mark.parametrize('backbone', BACKBONES)
def test_imagenet_weights_are_the_default(backbone):
    """Of the same size and window; of known releases only the output norms are left out."""
    cfg = load(f'demt_{backbone}_{NYUD}').model.backbone
    source = cfg.init_cfg.checkpoint
    assert cfg.init_cfg == load(f'demt_{backbone}_{PASCAL}').model.backbone.init_cfg
    model = build(f'demt_{backbone}_{NYUD}').backbone
    report = compare_state_dicts(model, {}, cfg.init_cfg.get('drop', ()))
    if cfg.type == 'HRNet':
        hub = Path(mmengine.__file__).parent / 'hub' / 'openmmlab.json'
        assert source.removeprefix('open-mmlab://') in json.loads(hub.read_text())
        assert not report.dropped
    else:
        assert source.startswith('https://') and f'swin_{cfg.arch}_patch4_window7_224' in source
        norms = [f'norm{i}.{name}' for i in range(4) for name in ('weight', 'bias')]
        assert report.dropped == norms


def test_upernet_weights_load_completely(tmp_path):
    """Prefix and names of mmsegmentation's UPerNet, its heads left over."""
    cfg = load(f'demt_swin-t_{NYUD}_ade20k').model.backbone.to_dict()
    torch.manual_seed(0)
    source = MODELS.build(dict(cfg, init_cfg=None), default_args=dict(_scope_='mmdense'))
    weights = {f'backbone.{key}': value for key, value in source.state_dict().items()}
    weights['decode_head.conv_seg.weight'] = torch.zeros(1)
    torch.save(dict(state_dict=weights), tmp_path / 'upernet.pth')
    cfg['init_cfg']['checkpoint'] = str(tmp_path / 'upernet.pth')
    target = MODELS.build(cfg, default_args=dict(_scope_='mmdense'))
    target.init_weights()
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value), key
