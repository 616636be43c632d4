"""CTAL and its baselines as whole models on a small pyramid: losses, gradients, precision."""

import copy
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from mmdense.registry import MODELS
from mmdense.structures.ground_truth import collate_gt
from mmdense.utils import ShapeError

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from conformance_utils import random_batch
from ctal_models import MODELS_OF_CTAL, NYUV2, config

LEVELS = (4, 8, 12, 16)


@MODELS.register_module(name='TestPyramid', force=True)
class Pyramid(nn.Module):
    """Four maps at strides 4 to 32; also of sides that these do not divide."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, LEVELS[0], 5, stride=4, padding=2)
        self.downs = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(LEVELS)
        )

    def forward(self, x):
        maps = [self.stem(x)]
        for down in self.downs:
            maps.append(down(maps[-1].relu()))
        return tuple(maps)


def build(method, tasks=NYUV2, size=(64, 96)):
    torch.manual_seed(0)
    grid = (size[0] // 4, size[1] // 4)
    return MODELS.build(config(method, tasks, dict(type='TestPyramid'), LEVELS, grid, 8))


def losses_of(model, count=3, size=(64, 96)):
    data = model.data_preprocessor(random_batch(model, [size] * count), training=True)
    return model(**data, mode='loss')


@pytest.mark.parametrize('batch', [1, 3])
@pytest.mark.parametrize('method', MODELS_OF_CTAL)
def test_every_parameter_is_trained(method, batch):
    model = build(method)
    losses = losses_of(model, batch)
    names = {name.partition('.')[2] for name in losses} - {'labelled'}
    # Without initial predictions the losses of a task count once.
    assert names == ({'loss_final'} if method == 'mtl' else {'loss_final', 'loss_init'})
    total, _ = model.parse_losses(losses)
    torch.testing.assert_close(total, sum(v for k, v in losses.items() if 'loss_' in k))
    total.backward()
    lacking = [n for n, p in model.named_parameters() if p.grad is None]
    assert not lacking and all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize('method', ['mti-net', 'ctal-ms'])
def test_initial_loss_is_the_mean_over_the_scales_each_at_the_size_of_the_picture(method):
    model = build(method)
    data = model.data_preprocessor(random_batch(model, [(64, 96)] * 2), training=True)
    inputs, samples = data['inputs'], data['data_samples']
    found = copy.deepcopy(model)(inputs, samples, mode='loss')
    feats = model.extract_feat(inputs)
    targets = collate_gt(model.tasks, samples, (64, 96), inputs.device)
    for key, task in model.tasks.items():
        assert [tuple(x.shape[-2:]) for x in feats.intermediate[key]] == [
            (16, 24),
            (8, 12),
            (4, 6),
            (2, 3),
        ]
        loss = MODELS.build(dict(task.losses[0]))
        scales = []
        for logits in feats.intermediate[key]:
            full = nn.functional.interpolate(logits, size=(64, 96), mode='bilinear')
            scales.append(loss(task.activate(full), targets[key], task.valid_mask(targets[key])))
        torch.testing.assert_close(found[f'{key}.loss_init'], sum(scales) / 4)


@pytest.mark.parametrize('method', MODELS_OF_CTAL)
def test_predicting_leaves_the_layers_of_supervision_out(method):
    model = build(method).eval()
    x = torch.randn(1, 3, 64, 96)
    trained, predicted = model.extract_feat(x), model.extract_feat(x, supervised=False)
    assert bool(trained.intermediate) is (method != 'mtl') and not predicted.intermediate
    for key, head in model.heads.items():
        assert torch.equal(head(trained), head(predicted))
        assert model(x)[key].shape == (1, model.tasks[key].num_channels, 64, 96)


@pytest.mark.parametrize('method', MODELS_OF_CTAL)
def test_half_precision_stays_close(method):
    model = build(method).eval()
    with torch.no_grad():
        full = losses_of(model)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            half = losses_of(model)
    for name, value in full.items():
        assert half[name].dtype == torch.float32
        assert half[name].item() == pytest.approx(value.item(), rel=0.03), name


@pytest.mark.parametrize('method', MODELS_OF_CTAL)
def test_weights_move_to_a_copy_a_checkpoint_and_a_model_built_without_memory(method):
    model = build(method).eval()
    x = torch.randn(1, 3, 64, 96)
    expected = model(x)
    with torch.device('meta'):
        empty = build(method)
    empty.to_empty(device='cpu').load_state_dict(model.state_dict())
    for other in (copy.deepcopy(model), empty.eval()):
        found = other.predict_maps(x)
        assert all(torch.equal(found[key], expected[key]) for key in expected)


class Maps(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model.predict_maps(x)


@pytest.mark.slow
@pytest.mark.parametrize('method', MODELS_OF_CTAL)
def test_exported_program_gives_the_same(method):
    model = Maps(build(method)).eval()
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        program = torch.export.export(model, (x,))
        expected, found = model(x), program.module()(x)
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('method', ['mtl', 'pad-net', 'pap-net'])
def test_sides_are_free_without_propagation(method):
    assert build(method).eval()(torch.randn(1, 3, 50, 71))['depth'].shape == (1, 1, 50, 71)


@pytest.mark.parametrize('method', ['mti-net', 'ctal-ms'])
def test_sides_that_cannot_be_halved_fail_at_once(method):
    with pytest.raises(ShapeError, match=r'input is \(64, 72\).*multiples of 32'):
        build(method)(torch.randn(1, 3, 64, 72))
    with pytest.raises(ShapeError, match=r'input is \(50, 64\).*multiples of 32'):
        losses_of(build(method), 1, (50, 64))


@pytest.mark.parametrize('method', MODELS_OF_CTAL)
def test_a_single_task_works(method):
    model = build(method, dict(depth=dict(type='Depth')))
    total, _ = model.parse_losses(losses_of(model))
    total.backward()
    assert all(p.grad is not None for p in model.parameters())
