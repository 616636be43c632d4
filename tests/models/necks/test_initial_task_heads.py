"""Initial heads at one level and at several, and what tells the levels about each other."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmdense.models.layers import bottleneck
from mmdense.models.necks import (
    FeaturePropagation,
    HRFusion,
    InitialTaskHeads,
    MultiScaleInitialTaskHeads,
)
from mmdense.models.necks.feature_propagation import SqueezeExcitation
from mmdense.models.necks.initial_task_heads import ParallelBottlenecks
from mmdense.structures import DenseFeatures
from mmdense.utils import ShapeError

OUTPUTS = dict(semseg=5, depth=1, normal=3)
CHANNELS = (4, 6, 8)


def levels(batch=3, height=8, width=12, channels=CHANNELS):
    return tuple(torch.randn(batch, c, height >> i, width >> i) for i, c in enumerate(channels))


def features(batch=3, size=(32, 48), supervised=True, **kwargs):
    maps = levels(batch, size[0] // 4, size[1] // 4, **kwargs)
    return DenseFeatures(shared=maps, backbone=maps, image_size=size, supervised=supervised)


def separate_blocks(parallel, in_channels, width):
    """The blocks of a stacked module, each as a block of its own."""
    count = len(parallel.bodies)
    rows = torch.arange(count * width).chunk(count)
    skips = (count * width + torch.arange(count * 4 * width)).chunk(count)
    blocks = []
    for body, row, skip in zip(parallel.bodies, rows, skips):
        block = bottleneck(in_channels, width).to(parallel.entry.weight)
        bn2, conv3, bn3 = body[1], body[3], body[4]
        block.conv2, block.bn2, block.conv3, block.bn3 = body[0], bn2, conv3, bn3
        for conv, norm, taken in (
            (block.conv1, block.bn1, row),
            (*block.downsample, skip),
        ):
            conv.weight = nn.Parameter(parallel.entry.weight.detach()[taken])
            for name, tensor in parallel.entry_norm.state_dict().items():
                if tensor.ndim:
                    getattr(norm, name).data.copy_(tensor[taken])
        blocks.append(block)
    return copy.deepcopy(blocks)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('blocks', [1, 2, 3])
def test_blocks_that_read_one_map_equal_separate_blocks(blocks, training):
    parallel = ParallelBottlenecks(5, 2, blocks).double().train(training)
    for tensor in (parallel.entry_norm.weight, parallel.entry_norm.bias):
        nn.init.normal_(tensor)
    plain = [block.train(training) for block in separate_blocks(parallel, 5, 2)]
    x = torch.randn(3, 5, 4, 6).double().requires_grad_()
    weights = torch.randn(blocks, 3, 8, 4, 6).double()
    results = []
    for outs in (parallel(x), [block(x) for block in plain]):
        (grad,) = torch.autograd.grad((torch.stack(outs) * weights).sum(), x)
        results.append((torch.stack(outs), grad))
    for got, want in zip(*results):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    means = torch.cat(
        [b.bn1.running_mean for b in plain] + [b.downsample[1].running_mean for b in plain]
    )
    torch.testing.assert_close(parallel.entry_norm.running_mean, means, rtol=1e-12, atol=1e-12)


def test_initial_heads_write_features_and_predictions():
    neck = InitialTaskHeads(4, OUTPUTS, channels=8)
    feats = neck(features())
    assert feats.shared[0].shape[1] == 4 and neck.channels == (8,)
    for task, outputs in OUTPUTS.items():
        own = feats.per_task[task]
        assert own.shape == (3, 8, 8, 12) and (own >= 0).all()
        (logits,) = feats.intermediate[task]
        assert logits.shape == (3, outputs, 8, 12)
        torch.testing.assert_close(logits, neck.predictors[task](own))


@pytest.mark.parametrize('batch', [1, 3])
def test_tasks_of_initial_heads_do_not_mix(batch):
    neck = InitialTaskHeads(4, OUTPUTS, channels=8)
    feats = neck(features(batch))
    feats.per_task['depth'].sum().backward()
    grads = {name: p.grad for name, p in neck.named_parameters()}
    assert grads['second.depth.conv1.weight'].abs().sum() > 0
    assert grads['second.semseg.conv1.weight'] is None
    touched = grads['first.entry.weight'].flatten(1).abs().sum(1) > 0
    # Width 2: rows 2 and 3 are the first convolution of depth, 6 + 8..15 its skip.
    assert touched[2:4].any() and touched[14:22].any()
    assert not touched[:2].any() and not touched[4:14].any() and not touched[22:].any()


@pytest.mark.parametrize(
    'neck',
    [InitialTaskHeads(4, OUTPUTS, channels=8), MultiScaleInitialTaskHeads(CHANNELS, OUTPUTS)],
)
def test_predictions_are_not_made_where_nobody_reads_them(neck):
    neck = copy.deepcopy(neck).eval()
    calls = []
    for predictor in neck.modules():
        if isinstance(predictor, nn.Conv2d) and predictor.out_channels in OUTPUTS.values():
            predictor.register_forward_hook(lambda *args: calls.append(args))
    feats = features()
    feats.intermediate['depth'] = ['kept']
    with_logits = neck(feats)
    assert len(calls) >= 3 and with_logits.intermediate['depth'][0] == 'kept'
    assert feats.intermediate == dict(depth=['kept'])
    calls.clear()
    without = neck(feats.replace(supervised=False))
    assert not calls and without.intermediate == dict(depth=['kept'])
    for task in OUTPUTS:
        for a, b in zip(without.maps_for(task), with_logits.maps_for(task)):
            assert torch.equal(a, b)


def test_scales_of_mti_net_from_coarse_to_fine():
    """Level by level: head, propagation, twice as large, beside the backbone's map, head."""
    neck = MultiScaleInitialTaskHeads(CHANNELS, OUTPUTS).double().eval()
    feats = features()
    feats = feats.replace(shared=tuple(x.double() for x in feats.shared))
    out = neck(feats)
    tasks = list(OUTPUTS)
    own = [neck.levels[2].blocks[t](feats.shared[2]) for t in tasks]
    expected = [own]
    for index in (1, 0):
        hints = neck.propagations[index](own)
        enlarged = [F.interpolate(x, scale_factor=2, mode='bilinear') for x in hints]
        own = [
            neck.levels[index].blocks[t](torch.cat([feats.shared[index], hint], 1))
            for t, hint in zip(tasks, enlarged)
        ]
        expected.insert(0, own)
    for i, task in enumerate(tasks):
        for level in range(3):
            want = expected[level][i]
            torch.testing.assert_close(out.per_task[task][level], want)
            logits = neck.levels[level].predictors[task](want)
            torch.testing.assert_close(out.intermediate[task][level], logits)
    # The coarsest heads keep the width, so their first skip is the identity.
    assert neck.levels[2].blocks['depth'][0].downsample is None
    assert neck.levels[0].blocks['depth'][0].downsample[0].in_channels == 10


@pytest.mark.parametrize('size', [(36, 48), (48, 40), (30, 48)])
def test_sides_that_cannot_be_halved_are_named(size):
    neck = MultiScaleInitialTaskHeads(CHANNELS, OUTPUTS)
    assert MultiScaleInitialTaskHeads((4, 4, 4, 4), OUTPUTS).divisor == 32
    maps = tuple(
        torch.randn(1, c, -(-size[0] // s), -(-size[1] // s)) for c, s in zip(CHANNELS, (4, 8, 16))
    )
    text = rf'input is \({size[0]}, {size[1]}\).*multiples of 16.*size_divisor=16'
    with pytest.raises(ShapeError, match=text):
        neck(DenseFeatures(shared=maps, image_size=size))


def test_what_does_not_fit_is_named():
    with pytest.raises(ShapeError, match=r'the shared ones, have \(4, 6\) channels'):
        MultiScaleInitialTaskHeads(CHANNELS, OUTPUTS)(DenseFeatures(shared=levels()[:2]))
    with pytest.raises(ValueError, match="fpm_softmax is 'task'"):
        MultiScaleInitialTaskHeads(CHANNELS, OUTPUTS, fpm_softmax='task')
    with pytest.raises(ValueError, match='channels is 10; give a positive multiple of 4'):
        InitialTaskHeads(4, OUTPUTS, channels=10)
    with pytest.raises(ShapeError, match='shared map 1, of which there are 0'):
        InitialTaskHeads(4, OUTPUTS, channels=8, in_index=1)(DenseFeatures())
    with pytest.raises(ShapeError, match='has 4 channels'):
        InitialTaskHeads(5, OUTPUTS, channels=8)(features())
    with pytest.raises(ValueError, match=r'InitialTaskHeads\.tasks is'):
        InitialTaskHeads(4, {}, channels=8)


# -- feature propagation -----------------------------------------------------------


def test_masks_sum_to_one_over_the_tasks():
    module = FeaturePropagation('abc', 6).double()
    x = torch.randn(2, 18, 4, 5).double()
    mask = module.mask(x).unflatten(1, (3, 6))
    torch.testing.assert_close(mask.sum(1), torch.ones(2, 6, 4, 5).double())
    assert mask.min() > 0 and mask.std() > 0


def test_released_masks_sum_to_one_over_neighbouring_channels():
    paper = FeaturePropagation('abc', 6).double().eval()
    released = FeaturePropagation('abc', 6, fpm_softmax='released').double().eval()
    released.load_state_dict(paper.state_dict())
    x = torch.randn(2, 18, 4, 5).double()
    logits = np.exp(paper.logits(x).detach().numpy())
    groups, tasks = np.empty_like(logits), np.empty_like(logits)
    for channel in range(18):
        first = 3 * (channel // 3)
        groups[:, channel] = logits[:, channel] / logits[:, first : first + 3].sum(1)
        tasks[:, channel] = logits[:, channel] / logits[:, channel % 6 :: 6].sum(1)
    np.testing.assert_allclose(released.mask(x).detach().numpy(), groups, rtol=1e-12)
    np.testing.assert_allclose(paper.mask(x).detach().numpy(), tasks, rtol=1e-12)


@pytest.mark.parametrize('fpm_softmax', ['tasks', 'released'])
def test_propagation_is_a_residual_of_what_is_shared(fpm_softmax):
    module = FeaturePropagation('ab', 6, fpm_softmax).double().eval()
    maps = [torch.randn(2, 6, 4, 5).double() for _ in range(2)]
    x = torch.cat(maps, 1)
    shared = module.reduce(module.mask(x) * x)
    for task, own, out in zip('ab', maps, module(maps)):
        torch.testing.assert_close(out, own + module.excitations[task](shared))
    # Without what is shared every task keeps its map.
    nn.init.zeros_(module.reduce.bn2.weight)
    nn.init.zeros_(module.reduce.downsample[1].weight)
    for own, out in zip(maps, module(maps)):
        assert torch.equal(own, out)


def test_squeeze_and_excitation():
    module = SqueezeExcitation(32).double()
    first, _, second, _ = module.gate
    assert first.weight.shape == (2, 32) and SqueezeExcitation(4).gate[0].out_features == 1
    x = torch.randn(2, 32, 3, 4).double()
    means = x.numpy().mean((2, 3))
    hidden = np.maximum(means @ first.weight.detach().numpy().T + first.bias.detach().numpy(), 0)
    z = hidden @ second.weight.detach().numpy().T + second.bias.detach().numpy()
    want = x.numpy() / (1 + np.exp(-z))[:, :, None, None]
    np.testing.assert_allclose(module(x).detach().numpy(), want, rtol=1e-12)


# -- fusion ------------------------------------------------------------------------


def test_fusion_of_the_shared_levels():
    neck = HRFusion(CHANNELS).eval()
    feats = features(size=(36, 45))
    out = neck(feats)
    assert len(out.shared) == 1 and out.shared[0].shape == (3, 18, 9, 11)
    want = neck.fusions['shared'](feats.shared, align_corners=False)
    assert torch.equal(out.shared[0], want)
    assert not torch.allclose(HRFusion(CHANNELS, align_corners=None).eval()(feats).shared[0], want)


def test_fusion_per_task_has_weights_and_maps_per_task():
    neck = HRFusion(CHANNELS, list(OUTPUTS), per_task=True, channels=5).eval()
    feats = features()
    own = levels()
    out = neck(feats.replace(per_task=dict(depth=own)))
    assert out.shared is feats.shared and neck.channels == (5,)
    for task, maps in dict(depth=own, semseg=feats.shared, normal=feats.shared).items():
        want = neck.fusions[task](maps, align_corners=False)
        torch.testing.assert_close(out.per_task[task], want)
        assert want.shape == (3, 5, 8, 12)
    assert not torch.allclose(out.per_task['semseg'], out.per_task['normal'])


def test_fusion_of_other_maps_is_refused():
    with pytest.raises(ShapeError, match=r'the shared ones, have \(4, 6\).*\(4, 6, 8\)'):
        HRFusion(CHANNELS)(DenseFeatures(shared=levels()[:2]))
    with pytest.raises(ShapeError, match=r"those of task 'depth', have \(4,\)"):
        HRFusion(CHANNELS, ['depth'], per_task=True)(
            features().replace(per_task=dict(depth=levels()[0]))
        )
    with pytest.raises(ValueError, match=r'HRFusion\.tasks is'):
        HRFusion(CHANNELS, per_task=True)


@pytest.mark.parametrize(
    'neck',
    [
        InitialTaskHeads(80, OUTPUTS, channels=64),
        MultiScaleInitialTaskHeads((64, 64), OUTPUTS),
        HRFusion((40, 40)),
    ],
)
def test_weights_start_as_pytorch_starts_them(neck):
    for m in neck.modules():
        if isinstance(m, (nn.Conv2d, nn.Linear)):
            bound = 1 / math.sqrt(m.weight[0].numel())
            assert m.weight.abs().max() <= bound
            assert m.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.2)
