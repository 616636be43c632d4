"""Distillation of PAD-Net at one level and at several."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmdense.models.necks import MultiScaleDistillation, PADDistillation
from mmdense.models.necks.pad_distillation import TaskDistillation
from mmdense.structures import DenseFeatures
from mmdense.utils import ShapeError


def pairwise_form(module, maps, channels):
    """Every ordered pair with a message and a gate convolution of its own."""
    out = [x.clone() for x in maps]
    for source, task in enumerate(module.tasks):
        kernels = module.senders[task].weight.split(channels)
        others = [t for t in range(len(maps)) if t != source]
        for place, target in enumerate(others):
            message = F.conv2d(maps[source], kernels[place], padding=1)
            gate = F.conv2d(maps[source], kernels[len(others) + place], padding=1).sigmoid()
            out[target] = out[target] + message * gate
    return out


@pytest.mark.parametrize('tasks', ['ab', 'abc', 'abcde'])
def test_stacked_convolutions_equal_one_pair_per_message(tasks):
    module = TaskDistillation(tasks, 3).double()
    maps = [torch.randn(2, 3, 4, 5).double().requires_grad_() for _ in tasks]
    weights = torch.randn(len(tasks), 2, 3, 4, 5).double()
    results = []
    for outs in (module(maps), pairwise_form(module, maps, 3)):
        wanted = [*maps, *module.parameters()]
        grads = torch.autograd.grad((torch.stack(outs) * weights).sum(), wanted)
        results.append([*outs, *grads])
    for got, want in zip(*results):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    count = sum(p.numel() for p in module.parameters())
    assert count == len(tasks) * (len(tasks) - 1) * 2 * 9 * 9


def test_without_messages_nothing_changes():
    """All message kernels zero: the identity, whatever the gates are."""
    module = TaskDistillation('abc', 4)
    for conv in module.senders.values():
        nn.init.zeros_(conv.weight[:8])
    maps = [torch.randn(2, 4, 5, 6) for _ in range(3)]
    for x, y in zip(maps, module(maps)):
        assert torch.equal(x, y)


def test_the_message_to_a_task_does_not_depend_on_it():
    module = TaskDistillation('abc', 4).double()
    maps = [torch.randn(2, 4, 5, 6).double() for _ in range(3)]
    changed = [maps[0], torch.randn(2, 4, 5, 6).double(), maps[2]]
    before, after = module(maps), module(changed)
    torch.testing.assert_close(before[1] - maps[1], after[1] - changed[1])
    assert not torch.allclose(before[0], after[0]) and not torch.allclose(before[2], after[2])


def test_a_single_task_sends_nothing():
    module = TaskDistillation(['depth'], 4)
    x = torch.randn(2, 4, 5, 6)
    assert not list(module.parameters()) and module([x])[0] is x


def test_neck_at_one_level():
    neck = PADDistillation(4, ['depth', 'normal'])
    maps = {task: torch.randn(1, 4, 5, 6) for task in neck.tasks}
    feats = DenseFeatures(per_task={**maps, 'other': 'kept'})
    out = neck(feats).per_task
    assert out['other'] == 'kept' and feats.per_task['depth'] is maps['depth']
    want = neck.distillation([maps['depth'], maps['normal']])
    assert torch.equal(out['depth'], want[0]) and torch.equal(out['normal'], want[1])


def test_neck_at_every_level():
    channels = (4, 6)
    neck = MultiScaleDistillation(channels, ['depth', 'normal'])
    maps = {
        task: tuple(torch.randn(3, c, 8 >> i, 6 >> i) for i, c in enumerate(channels))
        for task in neck.tasks
    }
    out = neck(DenseFeatures(per_task=copy.copy(maps))).per_task
    for i, level in enumerate(neck.levels):
        want = level([maps['depth'][i], maps['normal'][i]])
        assert torch.equal(out['depth'][i], want[0]) and torch.equal(out['normal'][i], want[1])
    assert isinstance(out['depth'], tuple) and len(out['depth']) == 2


def test_maps_that_do_not_fit_are_named():
    neck = MultiScaleDistillation((4, 6), ['depth', 'normal'])
    one = DenseFeatures(shared=(torch.zeros(1, 4, 5, 6),))
    with pytest.raises(ShapeError, match="reads map 1 of task 'depth', which has 1"):
        neck(one)
    with pytest.raises(ShapeError, match=r'PADDistillation.*has 4 channels.*expected 5'):
        PADDistillation(5, ['depth'])(one)
    with pytest.raises(ValueError, match=r'PADDistillation\.tasks is'):
        PADDistillation(4, [])
