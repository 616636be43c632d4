"""Saliency with one and with two logits."""

import pytest
import torch
import torch.nn.functional as F

import mmdense.models  # noqa: F401  (fills the registry)
from mmdense.registry import MODELS
from mmdense.tasks import Saliency


def test_two_logits_mean_a_softmax_and_a_class_weighted_cross_entropy():
    task = Saliency(num_logits=2)
    logits = torch.randn(3, 2, 8, 9, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 2, (3, 1, 8, 9))
    target[torch.rand(target.shape) < 0.2] = 255
    target[1] = 0
    valid = task.valid_mask(target)
    pred = task.activate(logits)
    assert task.num_channels == 2 and pred.shape == target.shape
    torch.testing.assert_close(task.decode(pred), logits.softmax(1)[:, 1:].float())

    loss = MODELS.build(task.losses[0])(pred, target, valid)
    negatives = ((target == 0).sum() / valid.sum()).double()
    weight = torch.stack([1 - negatives, negatives])
    total = F.cross_entropy(
        logits, target[:, 0].long(), weight=weight, ignore_index=255, reduction='sum'
    )
    torch.testing.assert_close(loss, total / valid.sum())
    grads = [torch.autograd.grad(x, logits, retain_graph=True)[0] for x in (loss, total)]
    torch.testing.assert_close(grads[0], grads[1] / valid.sum())


def test_two_logits_without_any_label_cost_nothing():
    task = Saliency(num_logits=2)
    logits = torch.randn(1, 2, 4, 4, requires_grad=True)
    target = torch.full((1, 1, 4, 4), 255)
    loss = MODELS.build(task.losses[0])(task.activate(logits), target, task.valid_mask(target))
    loss.backward()
    assert loss == 0 and not logits.grad.any()


def test_one_logit_is_the_default_and_three_are_refused():
    assert Saliency().num_channels == 1
    logits = torch.randn(1, 1, 2, 2)
    assert Saliency().activate(logits) is logits
    with pytest.raises(ValueError, match=r"tasks\['saliency'\].num_logits is 3"):
        Saliency(num_logits=3)
