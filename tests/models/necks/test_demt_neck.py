"""The whole of DeMT: shapes, presets, batches, and its place in a model."""

import copy
import sys
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmdense.models.necks import DeMTNeck
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures

sys.path.insert(0, str(Path(__file__).parents[2]))
from conformance_utils import loss_of, random_batch

CHANNELS = (4, 6, 8, 10)
TASKS = {
    'semseg': dict(type='SemSeg', num_classes=5),
    'depth': dict(type='Depth'),
    'normal': dict(type='Normal'),
    'boundary': dict(type='Boundary'),
    'saliency': dict(type='Saliency', num_logits=2),
    'part': dict(type='Part'),
}


def maps(height, width, batch=1):
    return tuple(
        torch.randn(batch, c, -(-height // s), -(-width // s))
        for c, s in zip(CHANNELS, (4, 8, 16, 32))
    )


def neck(tasks=('semseg', 'depth'), **kwargs):
    torch.manual_seed(0)
    return DeMTNeck(CHANNELS, 16, list(tasks), **kwargs).eval()


def model(tasks=TASKS, width=16, **kwargs):
    head = dict(type='ConvHead', in_channels=width, channels=width, align_corners=False)
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='mmdense.DensePredictor',
            tasks={key: TASKS[key] for key in tasks},
            data_preprocessor=dict(type='DenseDataPreprocessor', size_divisor=1),
            backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
            neck=dict(type='DeMTNeck', in_channels=(8, 16, 32, 64), channels=width, **kwargs),
            heads=dict.fromkeys(tasks, head),
        )
    )


@pytest.mark.parametrize('size', [(425, 560), (97, 131), (33, 40)], ids=str)
def test_odd_sizes(size):
    feats = DenseFeatures(shared=maps(*size), image_size=size)
    with torch.no_grad():
        out = neck()(feats)
    want = (1, 16, -(-size[0] // 4), -(-size[1] // 4))
    assert [x.shape for x in out.shared] == [want]
    assert {t: x.shape for t, x in out.per_task.items()} == dict(semseg=want, depth=want)


@pytest.mark.parametrize('released', [False, True])
@pytest.mark.parametrize('number', [1, 2, 3, 4, 5])
def test_any_number_of_tasks_trains(number, released):
    keys = list(TASKS)[-number:]
    net = model(keys, released=released).train()
    assert net.neck[0].tasks == tuple(keys)
    lacking = {(0, keys[0]), (1, keys[0])}
    total, logged = loss_of(net, random_batch(net, [(49, 67)] * 2, lacking))
    total.backward()
    assert torch.isfinite(total) and logged[f'{keys[0]}.labelled'] == 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_names_of_the_released_options():
    assert neck(released=True).options == dict(
        attention='pixel',
        offset_mode='absolute',
        pre_norm=False,
        mixer_order='channel_first',
        reduce_order='linear_norm',
    )
    mixed = neck(released=True, offset_mode='content')
    assert mixed.options['offset_mode'] == 'content' and mixed.options['attention'] == 'pixel'
    default = neck()
    assert default.options['attention'] == 'token' and default.interaction.kv_stride == 8
    assert isinstance(default.interaction.norm, nn.LayerNorm)
    assert isinstance(neck(released=True).interaction.norm, nn.Identity)


@pytest.mark.parametrize('released', [False, True])
@torch.no_grad()
def test_a_picture_does_not_depend_on_its_batch(released):
    net = model(released=released).eval()
    one, two = torch.randn(2, 2, 3, 49, 67).unbind()
    changed = torch.stack([one[0], two[1]])
    before, after = net.predict_maps(one), net.predict_maps(changed)
    swapped = net.predict_maps(one.flip(0))
    for key in before:
        assert torch.equal(before[key][0], after[key][0])
        assert not torch.allclose(before[key][1], after[key][1])
        torch.testing.assert_close(swapped[key].flip(0), before[key], atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings('ignore:Task')
@torch.no_grad()
def test_released_attention_lets_a_picture_depend_on_its_batch():
    net = model(released=True, attention='released').eval()
    one = torch.randn(2, 3, 49, 67)
    both, single = net.predict_maps(one), net.predict_maps(one[:1])
    assert all(not torch.allclose(both[k][:1], single[k], atol=1e-4) for k in both)
    pixel = copy.deepcopy(net)
    for part in (pixel.neck[0].interaction, pixel.neck[0].query):
        part.attention_over = 'pixel'
    for key, value in pixel.predict_maps(one[:1]).items():
        torch.testing.assert_close(value, single[key], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ('parts', 'absent'),
    [
        (dict(mixer=False, interaction=False, query=False), ('mixer', 'interaction', 'query')),
        (dict(interaction=False, query=False), ('interaction', 'query')),
        (dict(query=False), ('query',)),
        (dict(mixer=False), ('mixer',)),
    ],
)
def test_components_can_be_left_out(parts, absent):
    net = model(['semseg', 'depth'], **parts)
    assert all(getattr(net.neck[0], name) is None for name in absent)
    total, _ = loss_of(net.train(), random_batch(net, [(49, 67)]))
    total.backward()
    assert all(p.grad is not None for p in net.parameters())


def test_parts_listed_one_by_one_are_the_same_model():
    width, tasks = 16, ['semseg', 'depth']
    whole = model(tasks)
    parts = [
        dict(type='MultiScaleFusion', in_channels=(8, 16, 32, 64)),
        dict(type='WidthReduction', in_channels=120, channels=width),
        dict(type='DeformableMixer', channels=width),
        dict(type='TaskInteraction', channels=width),
        dict(type='TaskQuery', channels=width),
    ]
    torch.manual_seed(0)
    head = dict(type='ConvHead', in_channels=width, channels=width, align_corners=False)
    listed = MODELS.build(
        dict(
            type='mmdense.DensePredictor',
            tasks={key: TASKS[key] for key in tasks},
            data_preprocessor=dict(type='DenseDataPreprocessor', size_divisor=1),
            backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
            neck=parts,
            heads=dict.fromkeys(tasks, head),
        )
    )
    names = ('fusion', 'reduction', 'mixer', 'interaction', 'query')
    for i, name in enumerate(names):
        listed.neck[i].load_state_dict(getattr(whole.neck[0], name).state_dict())
    x = torch.randn(1, 3, 49, 67)
    listed.load_state_dict(
        {k: v for k, v in whole.state_dict().items() if not k.startswith('neck')}, strict=False
    )
    with torch.no_grad():
        expected, found = whole.eval().predict_maps(x), listed.eval().predict_maps(x)
    for key in expected:
        torch.testing.assert_close(found[key], expected[key])


def test_other_settings_than_the_released_are_warned_of():
    with pytest.warns(UserWarning, match=r"this model has \{'attention': 'token'"):
        neck().warn_unless_released('x.pth')
    with pytest.warns(UserWarning, match=r"has \{'mixer_order': 'spatial_first'\}"):
        neck(released=True, mixer_order='spatial_first').warn_unless_released('x.pth')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        neck(released=True).warn_unless_released('x.pth')
        neck(released=True, attention='released').warn_unless_released('x.pth')


@pytest.mark.parametrize('options', [dict(released=True), dict(kv_grid=(2, 3)), {}], ids=str)
@torch.no_grad()
def test_export_gives_the_same_maps(options):
    net = model(['semseg', 'depth'], **options).eval()
    net.forward = net.predict_maps
    x = torch.randn(1, 3, 49, 67)
    program = torch.export.export(net, (x,)).module()
    for key, value in net.predict_maps(x).items():
        torch.testing.assert_close(program(x)[key], value)


@torch.no_grad()
def test_a_neck_cast_as_a_whole_runs():
    half = neck(released=True).bfloat16()
    feats = DenseFeatures(shared=tuple(m.bfloat16() for m in maps(49, 67)))
    assert {m.dtype for m in half(feats).per_task.values()} == {torch.bfloat16}


@pytest.mark.slow
def test_two_pictures_are_learned_by_heart():
    net = model().train()
    batch = random_batch(net, [(64, 80)] * 2)
    for sample in batch['data_samples']:
        smooth_targets(net, sample)
    optimizer = torch.optim.AdamW(net.parameters(), 2e-2, weight_decay=0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-2, total_steps=200)
    first: dict[str, float] = {}
    for _ in range(200):
        total, logged = loss_of(net, copy.deepcopy(batch))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()
        first = first or {k: v.item() for k, v in logged.items()}
    for key in TASKS:
        assert logged[f'{key}.loss'] < 0.03 * first[f'{key}.loss'], key


def smooth_targets(net, sample):
    """Ground truth that four-pixel features can hold: blocks and ramps instead of noise."""
    for task in net.tasks.values():
        gt = sample.gt(task)
        coarse = gt[:, ::16, ::16]
        if not gt.is_floating_point():
            sample.set_gt(task, coarse.repeat_interleave(16, 1).repeat_interleave(16, 2))
            continue
        ramps = F.interpolate(coarse[None], gt.shape[-2:], mode='bicubic', align_corners=True)[0]
        sample.set_gt(task, ramps if task.gt_channels == 1 else F.normalize(ramps, dim=0))
