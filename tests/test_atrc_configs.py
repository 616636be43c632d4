"""What the configs of ATRC promise: sizes, cost, protocol, twins."""

from functools import cache
from pathlib import Path

import pytest
import torch
from config_files import load_file

from mmdense.apis.complexity import measure_complexity
from mmdense.registry import MODELS

FOLDER = Path(__file__).parents[1] / 'configs' / 'atrc'
NYUD, PASCAL = '8xb1-40k_nyud-425x560', '8xb1-40k_pascal-512x512'
ROOMS = 'r18-thin_1xb8-600_rooms-96x128'
#: Parameters, and giga-MACs of one picture where they are known from elsewhere.
KNOWN = {
    f'mtl_hrnet18_{NYUD}_atrc': (4_515_556, 17.48),
    f'atrc_hrnet18_{NYUD}': (5_060_994, 25.05),
    f'atrc_hrnet18_{NYUD}_all-global': (4_734_172, 21.18),
    f'atrc_hrnet18_{NYUD}_all-local': (4_734_172, 21.94),
    f'atrc_hrnet18_{NYUD}_all-target-label': (5_060_994, 25.17),
    f'mtl_hrnet48_{NYUD}_atrc': (70_000_305, 148.5),
    f'atrc_hrnet48_{NYUD}': (72_478_947, 181.0),
    f'mtl_hrnet18_{PASCAL}_atrc': (4_677_752, 21.7),
    f'atrc_hrnet18_{PASCAL}': (5_383_142, 31.65),
}
COUNTED = {
    f'atrc_hrnet18_{NYUD}_all-source-label': 5_060_994,
    f'atrc_hrnet18_{NYUD}_search': 5_459_318,
    f'atrc_hrnet18_{PASCAL}_all-global': 5_007_782,
    f'atrc_hrnet18_{PASCAL}_all-local': 5_007_782,
    f'atrc_hrnet18_{PASCAL}_all-target-label': 5_394_494,
    f'atrc_hrnet18_{PASCAL}_all-source-label': 5_394_494,
    f'atrc_hrnet18_{PASCAL}_search': 6_028_219,
    f'mtl_{ROOMS}_atrc': 4_460_218,
    f'atrc_{ROOMS}': 6_306_162,
    f'atrc_{ROOMS}_search': 7_165_734,
}


@cache
def load(stem):
    return load_file(FOLDER / f'{stem}.py')


def build(stem):
    with torch.device('meta'):
        return MODELS.build(load(stem).model, default_args=dict(_scope_='mmdense'))


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ('stem', 'total'), [*((stem, row[0]) for stem, row in KNOWN.items()), *COUNTED.items()]
)
def test_number_of_parameters(stem, total):
    assert count(build(stem)) == total


def test_every_context_has_as_many_parameters():
    """c = 67, d = 33: 9,141 each; the search adds all candidates and logits."""
    neck = build(f'atrc_hrnet18_{NYUD}').neck[0]
    assert (neck.channels, neck.context_channels) == (67, 33)
    assert count(neck.pairs) == 16 * 9_141
    search = build(f'atrc_hrnet18_{NYUD}_search')
    blocks = 12 * 4 + 4 * 3
    # Norms of the values have no scale and shift there.
    assert count(search.neck[0].pairs) == blocks * (9_141 - 66)
    assert search.neck[0].genotype_logits.numel() == 80
    assert round((count(search) - count(search.backbone)) / 1e6, 2) == 1.60


def giga_macs(stem):
    shape = (425, 560) if 'nyud' in stem else (512, 512)
    return measure_complexity(load(stem), shape)[-1].macs / 1e9


@pytest.mark.slow
@pytest.mark.parametrize(('stem', 'macs'), [(stem, row[1]) for stem, row in KNOWN.items()])
def test_multiply_accumulates(stem, macs):
    assert giga_macs(stem) == pytest.approx(macs, rel=0.01)


@pytest.mark.slow
def test_source_labels_pool_every_task_once():
    """Literally 25.17 G; three of four poolings of the 122 label maps are those of another pair."""
    saved = 3 * (40 + 40 + 40 + 2) * 67 * 107 * 140 / 1e9
    assert giga_macs(f'atrc_hrnet18_{NYUD}_all-source-label') == pytest.approx(
        25.17 - saved, rel=1e-3
    )


@pytest.mark.parametrize(('data', 'rate'), [(NYUD, 0.01), (PASCAL, 0.005)])
def test_protocol(data, rate):
    """SGD of one rate, decay on everything, no warm-up, 8 pictures, losses and weights."""
    cfg = load(f'atrc_hrnet18_{data}')
    assert cfg.optim_wrapper == dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=rate, momentum=0.9, weight_decay=5e-4),
    )
    (schedule,) = cfg.param_scheduler
    assert (schedule.total, schedule.power, schedule.get('warmup', 0)) == (40_000, 0.9, 0)
    assert cfg.sync_bn == 'torch'
    weights = dict(semseg=1.0, normal=10.0, boundary=50.0)
    weights.update(dict(depth=1.0) if data == NYUD else dict(part=2.0, saliency=5.0))
    assert cfg.model.balancer.weights == weights
    assert all(head.dropout_ratio == 0.05 for head in cfg.model.heads.values())
    # Same positives in the final and the auxiliary boundaries.
    assert cfg.auxiliary_tasks.boundary.losses == cfg.tasks.boundary.losses
    model = build(f'atrc_hrnet18_{data}')
    labels = {key: branch[1].out_channels for key, branch in model.neck[0].auxiliary.items()}
    expected = dict(semseg=40, depth=40, normal=40, boundary=2)
    if data == PASCAL:
        expected = dict(semseg=21, part=7, saliency=2, normal=40, boundary=2)
    assert labels == expected
    for key, head in model.heads.items():
        assert head.intermediate_task.num_channels == expected[key]
        assert head.intermediate_weight == 1


@pytest.mark.parametrize('stem', [s for s in [*KNOWN, *COUNTED] if s.startswith('mtl')])
def test_the_baseline_differs_in_neck_and_heads_only(stem):
    base, full = load(stem).to_dict(), load(stem.replace('mtl', 'atrc', 1)[:-5]).to_dict()
    for cfg in (base, full):
        cfg['model'].pop('neck')
        cfg['model'].pop('heads')
        for helper in ('auxiliary_tasks', 'genotype'):
            cfg.pop(helper, None)
    assert base == full


@pytest.mark.parametrize('path', sorted(FOLDER.glob('stl_*')), ids=lambda path: path.stem)
def test_single_task_twin_is_the_baseline_with_one_head(path):
    stem, task = path.stem.rsplit('-', 1)
    twin, base = load(path.stem), load('mtl' + stem.removeprefix('stl'))
    assert list(twin.tasks) == [task] == list(twin.model.heads)
    assert twin.model.heads[task] == base.model.heads[task]
    for part in ('backbone', 'neck', 'data_preprocessor'):
        assert twin.model[part] == base.model[part]
    assert twin.model.balancer.weights[task] == base.model.balancer.weights[task]
    assert twin.optim_wrapper == base.optim_wrapper


@pytest.mark.parametrize('stem', [s for s in COUNTED if s.endswith('_search')])
def test_search_protocol(stem):
    cfg, fixed = load(stem), load(stem.removesuffix('_search'))
    assert cfg.optim_wrapper.optimizer == fixed.optim_wrapper.optimizer
    assert cfg.optim_wrapper.second_optimizer == dict(type='Adam', lr=5e-4)
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=10.0)
    assert [hook.type for hook in cfg.custom_hooks] == ['GenotypeSearchHook']
    assert all(head.dropout_ratio == 0 for head in cfg.model.heads.values())
    assert cfg.model.neck.auxiliary_tasks == fixed.model.neck.auxiliary_tasks
