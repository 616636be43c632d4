"""A network per task: alone, stitched, fused; and one network with attention per task."""

import copy

import pytest
import torch
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from mmdense.engine.optim_wrappers import PatternOptimWrapperConstructor
from mmdense.models.backbones import MTANBackbone
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures

TASKS = ('semseg', 'depth', 'normal')
NETWORK = dict(type='DilatedResNet', depth=18, stem_channels=8, base_channels=8)
KINDS = ['TaskBackbones', 'CrossStitchBackbone', 'NDDRBackbone', 'MTANBackbone']
EXCHANGING = KINDS[1:3]


def build(kind, tasks=TASKS, network=None, **kwargs):
    backbone = dict(NETWORK, **(network or {}))
    return MODELS.build(dict(type=kind, tasks=tasks, backbone=backbone, **kwargs))


def shuffled_norms(model):
    """Norms with random statistics: at initialisation most are the identity."""
    for name, value in model.state_dict().items():
        if name.endswith(('running_mean', 'bias')):
            value.normal_(std=0.3)
        elif name.endswith('running_var'):
            value.uniform_(0.5, 1.5)
    return model


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('size', [(64, 96), (65, 97), (61, 90)])
def test_maps_per_task(kind, size):
    model = build(kind)
    assert model.takes_tasks
    assert (model.channels, model.strides) == ((8, 16, 32, 64), (4, 8, 8, 8))
    feats = model(torch.randn(1, 3, *size))
    assert isinstance(feats, DenseFeatures) and tuple(feats.per_task) == TASKS
    assert len(feats.shared) == (4 if kind == 'MTANBackbone' else 0)
    for maps in feats.per_task.values():
        for x, c, s in zip(maps, model.channels, model.strides):
            assert x.shape == (1, c, *(-(-n // s) for n in size))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('output_stride', [16, 32])
def test_other_strides_and_depths(kind, output_stride):
    network = dict(depth=50, base_channels=4, output_stride=output_stride, out_indices=(1, 3))
    model = build(kind, network=network).eval()
    strides = (8, output_stride)
    assert (model.channels, model.strides) == ((32, 128), strides)
    for maps in model(torch.randn(2, 3, 65, 97)).per_task.values():
        assert [tuple(m.shape[2:]) for m in maps] == [(-(-65 // s), -(-97 // s)) for s in strides]


@pytest.mark.parametrize('kind', KINDS)
def test_every_parameter_learns_and_initialisation_reaches_all(kind):
    model = build(kind, network=dict(out_indices=(3,)))
    model.init_weights()
    maps = model(torch.randn(2, 3, 33, 33)).per_task
    sum((m * torch.randn_like(m)).sum() for own in maps.values() for m in own).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]
    networks = [model.network] if kind == 'MTANBackbone' else list(model.networks.values())
    for network in networks:
        # mmseg starts the last norm of a residual branch at 0.
        assert not network.layer2[1].norm2.weight.detach().any()


@pytest.mark.parametrize('kind', KINDS)
def test_copies_meta_device_and_half_precision(kind):
    with torch.device('meta'):
        model = build(kind)
    model = model.to_empty(device='cpu')
    model.init_weights()
    twin = copy.deepcopy(shuffled_norms(model)).eval()
    other = build(kind)
    other.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = twin(x).per_task
        found = other.eval()(x).per_task
        with torch.autocast('cpu', torch.bfloat16):
            rounded = twin(x).per_task
    for task in TASKS:
        for a, b, c in zip(expected[task], found[task], rounded[task]):
            assert a.isfinite().all() and torch.equal(a, b)
            assert (a - c).norm() < 0.05 * a.norm()


def test_networks_of_tasks_never_meet():
    model = shuffled_norms(build('TaskBackbones')).eval()
    x = torch.randn(1, 3, 64, 64)
    for task, maps in model(x).per_task.items():
        for a, b in zip(maps, model.networks[task](x)):
            assert torch.equal(a, b)
    model(x).per_task['depth'][-1].sum().backward()
    learning = {name.split('.')[1] for name, p in model.named_parameters() if p.grad is not None}
    assert learning == {'depth'}


@torch.no_grad()
@pytest.mark.parametrize('training', [False, True])
def test_cross_stitch_without_exchange_is_separate_networks(training):
    model = shuffled_norms(build('CrossStitchBackbone', alpha=1.0, beta=0.0)).train(training)
    apart = copy.deepcopy(model.networks)
    x = torch.randn(2, 3, 64, 96)
    for task, maps in model(x).per_task.items():
        for a, b in zip(maps, apart[task](x)):
            assert torch.equal(a, b)


@torch.no_grad()
def test_nddr_without_exchange_is_separate_networks_up_to_the_eps_of_its_norms():
    model = shuffled_norms(build('NDDRBackbone', alpha=1.0, beta=0.0)).eval()
    for layer in model.nddr.values():
        layer.norm.reset_parameters()
        # Maps are behind a ReLU already: without the eps nothing changes.
        layer.norm.eps = 0.0
    x = torch.randn(1, 3, 64, 64)
    for task, maps in model(x).per_task.items():
        for a, b in zip(maps, model.networks[task](x)):
            torch.testing.assert_close(a, b)


@torch.no_grad()
def test_stitched_stages_read_the_mixture_of_the_stage_before():
    model = shuffled_norms(build('CrossStitchBackbone', TASKS[:2])).eval()
    one, two = (model.networks[task] for task in TASKS[:2])
    x = torch.randn(1, 3, 64, 64)
    a, b = (n.maxpool(n.relu(n.bn1(n.conv1(x)))) for n in (one, two))
    for name in ('layer1', 'layer2', 'layer3', 'layer4'):
        a, b = getattr(one, name)(a), getattr(two, name)(b)
        a, b = 0.9 * a + 0.1 * b, 0.1 * a + 0.9 * b
    maps = model(x).per_task
    torch.testing.assert_close(maps['semseg'][-1], a, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(maps['depth'][-1], b, rtol=1e-4, atol=1e-4)


def test_exchange_stands_where_the_papers_have_it():
    stages = ['layer1', 'layer2', 'layer3', 'layer4']
    stitched, fused = (build(kind) for kind in EXCHANGING)
    assert list(stitched.cross_stitch) == stages
    assert list(fused.nddr) == ['stem', *stages]
    assert {layer.norm.momentum for layer in fused.nddr.values()} == {0.05}
    assert [layer.channels for layer in fused.nddr.values()] == [8, 8, 16, 32, 64]
    assert [unit.weight.shape for unit in stitched.cross_stitch.values()] == [
        (3, 3, width) for width in (8, 16, 32, 64)
    ]


@pytest.mark.parametrize(('kind', 'key'), list(zip(EXCHANGING, ['cross_stitch', 'nddr'])))
def test_exchange_learns_a_hundred_times_faster(kind, key):
    model = nn.Module()
    model.backbone = build(kind)
    optimizer = dict(type='SGD', lr=1e-3, momentum=0.9, weight_decay=1e-4)
    settings = [
        (DefaultOptimWrapperConstructor, dict(custom_keys={key: dict(lr_mult=100)})),
        (PatternOptimWrapperConstructor, dict(lr_mult={key: 100}, decay_vectors=True)),
    ]
    fast = {p for name, p in model.named_parameters() if name.startswith(f'backbone.{key}.')}
    assert len(fast) == (4 if key == 'cross_stitch' else 15)
    for constructor, paramwise in settings:
        wrapper = constructor(dict(type='OptimWrapper', optimizer=optimizer), paramwise)(model)
        seen = set()
        for group in wrapper.optimizer.param_groups:
            for p in group['params']:
                assert group['lr'] == pytest.approx(0.1 if p in fast else 1e-3)
                assert group['weight_decay'] == 1e-4
                seen.add(p)
        assert seen == set(model.parameters())


@pytest.mark.parametrize('kind', KINDS[1:])
def test_networks_that_do_not_fit_are_one_clear_error(kind):
    with pytest.raises(ValueError, match=f'{kind}.backbone.out_indices is .* Add 3'):
        build(kind, network=dict(out_indices=(0, 1)))
    with pytest.raises(ValueError, match=f'{kind}.backbone is a DilatedResNet with pre_activation'):
        build(kind, network=dict(pre_activation_features=True))
    with pytest.raises(ValueError, match=f'{kind}.backbone is a HRNet, .* stage by stage'):
        MODELS.build(dict(type=kind, tasks=TASKS, backbone=dict(type='HRNet')))
    with pytest.raises(ValueError, match=f'{kind}.tasks is'):
        build(kind, tasks=())


@torch.no_grad()
@pytest.mark.parametrize('depth', [18, 50])
def test_mtan_is_its_equations(depth):
    width = 8 if depth == 18 else 2
    model = build('MTANBackbone', TASKS[:2], dict(depth=depth, base_channels=width))
    shuffled_norms(model).eval()
    net, x = model.network, torch.randn(1, 3, 64, 96)
    p = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    attended, refined = {}, {}
    found = model(x)
    for k in range(4):
        *blocks, last = getattr(net, f'layer{k + 1}')
        b = nn.Sequential(*blocks)(p)
        p = last(b)
        torch.testing.assert_close(found.shared[k], p)
        for task in TASKS[:2]:
            source = b if k == 0 else torch.cat([b, refined[task]], 1)
            conv1, norm1, _, conv2, norm2, _ = model.attention[task][k]
            mask = norm2(conv2(norm1(conv1(source)).relu())).sigmoid()
            attended[task] = mask * p
            torch.testing.assert_close(found.per_task[task][k], attended[task])
            if k < 3:
                refined[task] = model.refine[k](attended[task])
            if k == 0:
                refined[task] = nn.functional.max_pool2d(refined[task], 2)
    assert [gates[0].out_channels for gates in model.attention['depth']] == [
        c // 4 for c in model.channels
    ]


def test_mtan_widths_must_divide():
    with pytest.raises(ValueError, match='reduction=3 and 4'):
        MTANBackbone(TASKS, NETWORK, reduction=3)
