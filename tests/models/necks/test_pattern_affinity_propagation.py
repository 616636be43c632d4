"""The neck of PAP-Net: parameters, mixing of the tasks, options."""

import copy
import warnings

import pytest
import torch

from mmdense.models.necks import PatternAffinityPropagation
from mmdense.models.necks.functional import pattern_diffusion
from mmdense.structures import DenseFeatures
from mmdense.utils import ShapeError

TASKS = ['semseg', 'depth', 'normal']


def build(**kwargs):
    return PatternAffinityPropagation(TASKS, **dict(dict(in_channels=6, channels=4), **kwargs))


def features(batch=2, channels=6, grid=(4, 5)):
    return DenseFeatures(per_task={t: torch.randn(batch, channels, *grid) for t in TASKS})


def test_parameters_of_the_published_sizes():
    neck = PatternAffinityPropagation(TASKS)
    assert sum(p.numel() for p in neck.parameters()) == 3 * 32_896 + 9


def test_shares_are_uniform_at_first_and_learn():
    neck = build(beta=0.5)
    torch.testing.assert_close(neck.mixing(), torch.full((3, 3), 1 / 3))
    out = neck(features()).per_task
    sum(x.square().sum() for x in out.values()).backward()
    for name, p in neck.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0, name


@pytest.mark.filterwarnings('ignore:PatternAffinityPropagation')
@pytest.mark.parametrize('affinity', ['row_stochastic', 'released'])
def test_steps_one_by_one(affinity):
    neck = build(affinity=affinity, num_iters=2, beta=0.4)
    torch.nn.init.normal_(neck.mixing.logits)
    feats = features()
    out = neck(feats)
    reduced = torch.stack([neck.reduce[t](x).flatten(2) for t, x in feats.per_task.items()], 1)
    shares = neck.mixing.logits.softmax(1)
    expected = pattern_diffusion(reduced, shares, 2, 0.4, affinity, impl='explicit')
    assert list(out.per_task) == TASKS
    for task, x in zip(TASKS, expected.unbind(1)):
        torch.testing.assert_close(out.per_task[task].flatten(2), x, rtol=1e-4, atol=1e-5)
        assert out.per_task[task].shape == (2, 4, 4, 5)


def test_without_reduction_and_beta_maps_pass():
    neck = build(channels=6, reduce=False, beta=0.0)
    feats = features()
    for task, x in neck(feats).per_task.items():
        assert torch.equal(x, feats.per_task[task])


def test_released_form_warns_and_the_default_does_not():
    with pytest.warns(UserWarning, match="affinity='released' divides by sums"):
        build(affinity='released')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        build()


@pytest.mark.parametrize('similarity', ['inner_product', 'exp'])
@pytest.mark.parametrize('batch', [1, 3])
def test_autocast_copies_and_states(similarity, batch):
    neck = build(similarity=similarity, num_iters=3).train()
    feats = features(batch, grid=(3, 7))
    with torch.autocast('cpu', torch.bfloat16):
        out = neck(feats).per_task
    sum(x.float().square().sum() for x in out.values()).backward()
    assert all(p.grad.isfinite().all() for p in neck.parameters())
    other = build(similarity=similarity, num_iters=3)
    other.load_state_dict(neck.state_dict())
    for same in (other, copy.deepcopy(neck)):
        for task, x in same(feats).per_task.items():
            assert torch.equal(x, neck(feats).per_task[task])


def test_built_without_memory_then_initialised():
    with torch.device('meta'):
        neck = build()
    neck = neck.to_empty(device='cpu')
    neck.init_weights()
    torch.testing.assert_close(neck.mixing(), torch.full((3, 3), 1 / 3))
    assert all(x.isfinite().all() for x in neck(features()).per_task.values())


def test_wrong_use_is_said():
    for kwargs, message in (
        (dict(affinity='softmax'), "affinity is 'softmax'"),
        (dict(num_iters=0), 'num_iters is 0'),
        (dict(beta=-0.1), 'beta -0.1'),
        (dict(reduce=False), 'channels=4'),
        (dict(similarity='exp', impl='linear'), 'no linear form'),
    ):
        with pytest.raises(ValueError, match=message):
            build(**kwargs)
    with pytest.raises(ShapeError, match='expected 6'):
        build()(features(channels=5))
