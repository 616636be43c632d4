"""The neck of CTAL: parameters, blending, grids, options."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmdense.models.necks import CrossTaskAffinity
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.utils import ShapeError

TASKS = ['semseg', 'depth', 'normal']
GRID = (4, 5)


def build(tasks=TASKS, **kwargs):
    kwargs = dict(dict(in_channels=6, channels=4, feat_size=GRID), **kwargs)
    return CrossTaskAffinity(tasks, **kwargs)


def features(tasks=TASKS, grid=GRID, batch=2, channels=6):
    return DenseFeatures(per_task={task: torch.randn(batch, channels, *grid) for task in tasks})


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_parameters_of_the_published_sizes():
    """NYUv2 at 288 x 384 by HRNet-18, one joint affinity for all tasks as in the code."""
    with torch.device('meta'):
        neck = build(in_channels=256, channels=128, feat_size=(72, 96), released=True)
        multi = build(in_channels=270, channels=128, feat_size=(72, 96), released=True)
        paper = build(in_channels=256, channels=128, feat_size=(72, 96))
        swin = build([*TASKS, 'a', 'b'], feat_size=(16, 16), norm_act=True, released=True)
        single = build(feat_size=None, token_kernels='shared')
    parts = {name: count(child) for name, child in neck.named_children()}
    assert parts == dict(reduce=98_688, value=442_752, joint=193_536, up=640_512)
    assert (count(neck), count(multi)) == (1_375_488, 1_380_864)
    assert count(paper) - count(neck) == 387_072
    assert count(swin.joint) == 11_776
    assert count(single.joint) == 3 * (3 * 9 + 1)


def test_initialisation_is_that_of_the_grouped_convolution():
    torch.manual_seed(0)
    joint = build(feat_size=(20, 30)).joint
    conv = nn.Conv2d(600 * 3, 600, 3, groups=600)
    for mine, theirs in ((joint.kernel, conv.weight), (joint.bias, conv.bias)):
        torch.testing.assert_close(mine.std(), theirs.std(), rtol=0.05, atol=0)
        assert mine.abs().max() <= 27**-0.5 and mine.abs().max() > 0.99 * 27**-0.5


@pytest.mark.parametrize('impl', ['explicit', 'factorised'])
@pytest.mark.parametrize('norm_act', [False, True])
def test_steps_one_by_one(impl, norm_act):
    neck = build(affinity_impl=impl, norm_act=norm_act, gamma=0.3, value_kernel=5).double()
    feats = features().replace(shared=(torch.zeros(1),))
    feats = feats.replace(per_task={t: x.double() for t, x in feats.per_task.items()})
    out = neck(feats)
    assert list(out.per_task) == TASKS and out.shared is feats.shared
    with torch.no_grad():
        own = {t: neck.reduce[t](x) for t, x in feats.per_task.items()}
        grams = {}
        for t, x in own.items():
            unit = x.flatten(2) / x.flatten(2).norm(dim=1, keepdim=True).clamp(min=1e-12)
            grams[t] = unit.mT @ unit
        maps = torch.stack(list(grams.values()), 2).flatten(1, 2).unflatten(2, GRID)
        for index, task in enumerate(TASKS):
            kernel, bias = neck.joint.kernel[index], neck.joint.bias[index]
            joint = F.conv2d(maps, kernel, bias, padding=1, groups=20).flatten(2)
            conv = neck.value[task]
            values = F.conv2d(own[task], conv.weight, conv.bias, padding=2).flatten(2)
            attended = torch.einsum('bcj,bij->bci', values, joint).view_as(own[task])
            mixed = 0.3 * attended + 0.7 * own[task]
            torch.testing.assert_close(neck.up[task](mixed), out.per_task[task])
    assert out.per_task['depth'].shape == (2, 4, 8, 10)


def test_without_gamma_features_stay_as_they_are():
    neck = build(gamma=0.0, upsample=False)
    feats = features()
    out = neck(feats)
    for task, x in feats.per_task.items():
        assert torch.equal(out.per_task[task], neck.reduce[task](x))


def test_both_forms_are_one_neck():
    torch.manual_seed(0)
    neck = build(tasks=TASKS[:2]).double()
    feats = features(TASKS[:2])
    feats = feats.replace(per_task={t: x.double() for t, x in feats.per_task.items()})
    found = []
    for impl in ('explicit', 'factorised', 'auto'):
        same = copy.deepcopy(neck)
        same.affinity_impl = impl
        out = same(feats).per_task
        sum(x.square().sum() for x in out.values()).backward()
        found.append([*out.values(), *(p.grad for p in same.parameters())])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize('kwargs', [{}, dict(released=True), dict(token_kernels='shared')], ids=str)
@pytest.mark.parametrize('batch', [1, 3])
def test_every_parameter_learns_under_autocast(kwargs, batch):
    neck = build(gamma=0.5, norm_act=True, **kwargs).train()
    with torch.autocast('cpu', torch.bfloat16):
        out = neck(features(batch=batch)).per_task
    sum(x.float().square().sum() for x in out.values()).backward()
    for name, p in neck.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), name
        # A bias ahead of batch norm, and the rounding of its gradient, aside.
        assert p.grad.abs().max() > 0, name


def test_wrong_grid_is_named_with_the_right_one():
    neck = build()
    with pytest.raises(ShapeError, match=r'feat_size is \(4, 5\).*grid \(5, 4\).*resize_tokens'):
        neck(features(grid=(5, 4)))
    with pytest.raises(ShapeError, match='expected 6'):
        neck(features(channels=5))
    build(feat_size=None, token_kernels='shared')(features(grid=(7, 3)))


def test_tokens_resized():
    neck = build()
    height = torch.linspace(0, 3, 4)[:, None].expand(GRID).reshape(-1)
    with torch.no_grad():
        neck.joint.kernel[1, :, 2, 0, 1] = height
        neck.joint.bias[2] = 2 * height
    before = neck.joint.kernel.detach().clone()
    neck.resize_tokens((8, 5))
    assert neck.feat_size == (8, 5) and neck.joint.kernel.shape == (3, 40, 3, 3, 3)
    # Bilinear between pixel centres, held at the border.
    rows = torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])[:, None].expand(8, 5)
    torch.testing.assert_close(neck.joint.kernel[1, :, 2, 0, 1].view(8, 5), rows)
    torch.testing.assert_close(neck.joint.bias[2].view(8, 5), 2 * rows)
    neck(features(grid=(8, 5)))
    assert set(dict(neck.named_parameters())) == set(dict(build().named_parameters()))
    same = build()
    with torch.no_grad():
        same.joint.kernel.copy_(before)
    same.resize_tokens(GRID)
    torch.testing.assert_close(same.joint.kernel, before)
    with pytest.raises(ValueError, match='feat_size'):
        neck.resize_tokens((8,))


def test_resized_sums_can_keep_their_size():
    neck = build(gamma=1.0, upsample=False, value_kernel=1)
    x = torch.randn(1, 6, 1, 1)
    with torch.no_grad():
        neck.joint.kernel.copy_(neck.joint.kernel.mean(1, keepdim=True))
        neck.joint.kernel[..., 0, :] = neck.joint.kernel[..., 2, :] = 0
        neck.joint.kernel[..., 0] = neck.joint.kernel[..., 2] = 0
        neck.joint.bias.fill_(0.1)

    def run(grid):
        maps = {t: x.expand(1, 6, *grid) for t in TASKS}
        return neck(DenseFeatures(per_task=maps)).per_task['depth'][0, :, 0, 0]

    small = run(GRID)
    neck.resize_tokens((8, 10), keep_sum=True)
    torch.testing.assert_close(run((8, 10)), small)
    neck.resize_tokens(GRID)
    torch.testing.assert_close(run(GRID), small / 4)


def test_options():
    assert build().options == dict(joint_affinity='per_task', filter_size=3, value_kernel=3)
    assert build(filter_size=5).options['value_kernel'] == 5
    assert build(filter_size=5, value_kernel=3).options['value_kernel'] == 3
    released = build(released=True)
    assert released.options == dict(joint_affinity='shared', filter_size=3, value_kernel=3)
    assert build(released=True, joint_affinity='per_task').options['joint_affinity'] == 'per_task'
    for kwargs, message in (
        (dict(joint_affinity='both'), "joint_affinity is 'both'.*'per_task', 'shared'"),
        (dict(token_kernels='all'), 'token_kernels'),
        (dict(affinity_impl='fast'), 'affinity_impl'),
        (dict(filter_size=4), 'filter_size is 4; expected an odd number'),
        (dict(value_kernel=0), 'value_kernel is 0'),
        (dict(gamma=1.5), r'gamma is 1.5.*\[0, 1\]'),
        (dict(feat_size=None), r"feat_size is None.*token_kernels='shared'"),
        (dict(feat_size=(4, 0)), 'feat_size'),
    ):
        with pytest.raises(ValueError, match=message):
            build(**kwargs)


def test_states_travel():
    neck, other = build(), build()
    other.load_state_dict(neck.state_dict())
    feats = features()
    for copied in (other, copy.deepcopy(neck)):
        for task, x in neck(feats).per_task.items():
            assert torch.equal(copied(feats).per_task[task], x)


def test_built_without_memory_then_initialised():
    with torch.device('meta'):
        neck = MODELS.build(
            dict(type='CrossTaskAffinity', tasks=TASKS, in_channels=6, channels=4, feat_size=GRID)
        )
    neck = neck.to_empty(device='cpu')
    neck.init_weights()
    assert all(x.isfinite().all() for x in neck(features()).per_task.values())
    assert neck.joint.kernel.abs().max() <= 27**-0.5 and neck.joint.kernel.std() > 0


class Exported(nn.Module):
    def __init__(self, neck):
        super().__init__()
        self.neck = neck

    def forward(self, *maps):
        feats = DenseFeatures(per_task=dict(zip(TASKS, maps)))
        return tuple(self.neck(feats).per_task.values())


@pytest.mark.parametrize('impl', ['explicit', 'factorised'])
def test_export(impl):
    model = Exported(build(affinity_impl=impl)).eval()
    maps = tuple(features().per_task.values())
    program = torch.export.export(model, maps)
    for a, b in zip(program.module()(*maps), model(*maps)):
        torch.testing.assert_close(a, b)
