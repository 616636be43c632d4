"""Trace-back of MT-CP: which map reaches what."""

import pytest
import torch
import torch.nn.functional as F

from mmdense.models.necks import SpatialRefinement
from mmdense.models.necks.spatial_refinement import RefinementStep
from mmdense.structures import DenseFeatures
from mmdense.utils import ShapeError

TASKS = dict(semseg=5, depth=1)


def features(channels=4, size=(12, 17), **options):
    sizes = [size, *[(-(-size[0] // 2**i), -(-size[1] // 2**i)) for i in range(3)]]
    widths = [channels, channels, 2 * channels, 4 * channels]
    maps = {
        t: tuple(torch.randn(2, c, *s, requires_grad=True) for c, s in zip(widths, sizes))
        for t in TASKS
    }
    return DenseFeatures(per_task=maps, **options)


def make(**options):
    return SpatialRefinement(4, (4, 8, 16), TASKS, **options)


def test_shapes_fine_to_coarse():
    feats = features()
    out = make()(feats)
    assert out.per_task['semseg'].shape == (2, 4, 12, 17)
    assert [tuple(x.shape) for x in out.intermediate['semseg']] == [(2, 5, 3, 5), (2, 5, 6, 9)]
    assert [x.shape[1] for x in out.intermediate['depth']] == [1, 1]


def test_the_last_step_does_not_read_intermediate_predictions():
    """The recursion goes along the way back, not along the predictions."""
    neck, feats = make().eval(), features()
    before = neck(feats)
    for chain in neck.chains.values():
        for step in chain.steps[:2]:
            torch.nn.init.normal_(step.pred[0].weight)
    after = neck(feats)
    for task in TASKS:
        assert torch.equal(before.per_task[task], after.per_task[task])
        for x, y in zip(before.intermediate[task], after.intermediate[task]):
            assert not torch.allclose(x, y)


def test_the_fused_map_reaches_the_head_through_the_first_step_alone():
    neck, feats = make().double(), features()
    maps = {
        t: tuple(x.detach().double().requires_grad_() for x in v) for t, v in feats.per_task.items()
    }
    seen = []
    chain = neck.chains['depth']
    chain.steps[0].register_forward_hook(lambda module, inputs, out: seen.append(out[1]))
    out = neck(DenseFeatures(per_task=maps)).per_task['depth'].sin().sum()
    fused = maps['depth'][0]
    (direct,) = torch.autograd.grad(out, fused, retain_graph=True)
    (back,) = torch.autograd.grad(out, seen[0], retain_graph=True)
    (chained,) = torch.autograd.grad(seen[0], fused, back)
    assert direct.abs().max() > 0
    torch.testing.assert_close(direct, chained, rtol=1e-12, atol=0)
    assert not hasattr(chain.steps[2].back, 'weight') and chain.steps[2].back is None


def test_plain_shrinking_reads_four_of_sixteen_pixels():
    """With `antialias` all of them count."""
    read = {}
    for antialias in (False, True):
        step = RefinementStep(1, 1, 1, last=True, antialias=antialias).double().eval()
        step.previous_gate = torch.nn.Identity()
        x = torch.randn(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
        torch.nn.init.ones_(step.pred[0].weight)
        torch.nn.init.constant_(step.pred[0].bias, 100.0)
        out, _ = step(x, torch.randn(1, 1, 2, 2, dtype=torch.float64))
        (grad,) = torch.autograd.grad(out.sum(), x)
        read[antialias] = int((grad != 0).sum())
    assert read == {False: 16, True: 64}  # 4 or 16 per pixel of 2x2


def test_nothing_is_predicted_where_nobody_reads_it():
    out = make(predict_from_cfm=True)(features(supervised=False))
    assert not out.intermediate and out.per_task['depth'].shape == (2, 4, 12, 17)


def test_prediction_of_the_fused_map_comes_first():
    neck, feats = make(predict_from_cfm=True).eval(), features()
    out = neck(feats)
    assert [tuple(x.shape[-2:]) for x in out.intermediate['depth']] == [(12, 17), (3, 5), (6, 9)]
    want = neck.chains['depth'].first_predictor(feats.per_task['depth'][0])
    assert torch.equal(out.intermediate['depth'][0], want)


def test_intermediate_convolutions_by_task():
    chains = make(intermediate_convs=dict(depth=1)).chains
    counts = {
        t: sum(isinstance(m, torch.nn.Conv2d) for m in chain.predictors[0]) - 1
        for t, chain in chains.items()
    }
    assert counts == dict(semseg=2, depth=1)
    with pytest.raises(ValueError, match='intermediate_convs'):
        make(intermediate_convs=dict(normal=1))


def test_step_is_gates_resize_and_two_convolutions():
    step = RefinementStep(3, 2, 4, last=False, antialias=False).double().eval()
    previous, stage = torch.randn(1, 3, 4, 6).double(), torch.randn(1, 2, 8, 12).double()
    a = F.interpolate(step.previous_gate(previous), size=(8, 12), mode='bilinear')
    joined = torch.cat((a, step.stage_gate(stage)), dim=1)
    for branch, got in zip((step.pred, step.back), step(previous, stage)):
        conv, norm, _ = branch
        y = F.conv2d(joined, conv.weight, conv.bias) / (1 + norm.eps) ** 0.5
        torch.testing.assert_close(got, y.relu())


def test_maps_that_do_not_fit():
    feats = features()
    feats.per_task['depth'] = feats.per_task['depth'][:2]
    with pytest.raises(ShapeError, match="task 'depth'"):
        make()(feats)
