import pytest
import torch
from torch import nn

from mmdense.models.layers import CrossStitchUnit, NDDRLayer
from mmdense.utils import ShapeError

KINDS = [CrossStitchUnit, NDDRLayer]


def random_maps(num_tasks, channels, batch=2):
    return tuple(torch.randn(batch, channels, 3, 5) for _ in range(num_tasks))


@pytest.mark.parametrize('num_tasks', [1, 2, 5])
def test_stitching_is_the_sum_over_tasks_channel_by_channel(num_tasks):
    unit = CrossStitchUnit(num_tasks, 4)
    nn.init.normal_(unit.weight)
    maps = random_maps(num_tasks, 4)
    for t, out in enumerate(unit(maps)):
        for c in range(4):
            expected = sum(unit.weight[t, u, c] * maps[u][:, c] for u in range(num_tasks))
            torch.testing.assert_close(out[:, c], expected)


@pytest.mark.parametrize('training', [True, False])
def test_nddr_is_one_convolution_norm_and_relu_per_task(training):
    num_tasks, width = 3, 4
    layer = NDDRLayer(num_tasks, width).train(training)
    nn.init.normal_(layer.conv.weight)
    for value in (layer.norm.weight, layer.norm.bias, layer.norm.running_mean):
        nn.init.normal_(value)
    maps = random_maps(num_tasks, width)
    layers = []
    for t in range(num_tasks):
        rows = slice(t * width, (t + 1) * width)
        conv = nn.Conv2d(num_tasks * width, width, 1, bias=False)
        norm = nn.BatchNorm2d(width, momentum=0.05)
        conv.weight.data = layer.conv.weight.data[rows]
        for name, value in layer.norm.state_dict().items():
            if value.ndim:
                getattr(norm, name).data = value[rows].clone()
        layers.append(nn.Sequential(conv, norm, nn.ReLU()).train(training))
    for plain, out in zip(layers, layer(maps)):
        torch.testing.assert_close(out, plain(torch.cat(maps, 1)))
    found = torch.cat([plain[1].running_var for plain in layers])
    torch.testing.assert_close(layer.norm.running_var, found)


@pytest.mark.parametrize(('num_tasks', 'alpha', 'beta'), [(2, 0.9, 0.1), (5, 0.8, 0.05)])
def test_initial_weights_of_a_task_sum_to_one(num_tasks, alpha, beta):
    own = torch.eye(num_tasks).bool()
    unit = CrossStitchUnit(num_tasks, 3, alpha)
    assert torch.allclose(unit.weight[own], torch.tensor(alpha))
    assert torch.allclose(unit.weight[~own], torch.tensor(beta))
    layer = NDDRLayer(num_tasks, 3, alpha)
    blocks = layer.conv.weight[..., 0, 0].reshape(num_tasks, 3, num_tasks, 3)
    for t in range(num_tasks):
        for u in range(num_tasks):
            expected = torch.eye(3) * (alpha if t == u else beta)
            assert torch.allclose(blocks[t, :, u], expected)


def test_beta_may_be_given():
    assert CrossStitchUnit(3, 2, 1.0, 0.3).weight[0, 1].tolist() == pytest.approx([0.3, 0.3])
    assert NDDRLayer(1, 2).conv.weight.flatten().tolist() == pytest.approx([0.9, 0, 0, 0.9])


def test_without_exchange_stitching_is_the_identity_and_nddr_a_relu():
    maps = random_maps(3, 4)
    for out, x in zip(CrossStitchUnit(3, 4, 1.0, 0.0)(maps), maps):
        assert torch.equal(out, x)
    layer = NDDRLayer(3, 4, 1.0, 0.0).eval()
    for out, x in zip(layer(maps), maps):
        torch.testing.assert_close(out, x.relu() / (1 + layer.norm.eps) ** 0.5)


@pytest.mark.parametrize('kind', KINDS)
def test_initialisation_returns(kind):
    layer = kind(3, 4)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    for module in reversed(list(layer.modules())):
        if hasattr(module, 'reset_parameters'):
            module.reset_parameters()
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize('kind', KINDS)
def test_wrong_maps_are_one_clear_error(kind):
    layer = kind(2, 4)
    good = torch.zeros(1, 4, 3, 3)
    for maps in ([good], [good] * 3, [good, good[..., :2]], [good[:, :3]] * 2):
        with pytest.raises(ShapeError, match=r'expected 2 of one size \(B, 4, H, W\)'):
            layer(maps)
    with pytest.raises(ValueError, match='num_tasks=0'):
        kind(0, 4)


@pytest.mark.parametrize('kind', KINDS)
def test_half_precision_maps_stay_so(kind):
    layer = kind(2, 4).eval()
    maps = random_maps(2, 4)
    exact = layer(maps)
    with torch.autocast('cpu', torch.bfloat16):
        rounded = layer([m.bfloat16() for m in maps])
    for a, b in zip(exact, rounded):
        assert b.dtype == torch.bfloat16
        torch.testing.assert_close(b.float(), a, rtol=0.02, atol=0.02)


@pytest.mark.parametrize('kind', KINDS)
def test_every_task_learns_from_every_other(kind):
    layer = kind(3, 4)
    maps = [m.requires_grad_() for m in random_maps(3, 4)]
    (layer(maps)[1] * torch.randn(2, 4, 3, 5)).sum().backward()
    assert all(m.grad.any() for m in maps)
