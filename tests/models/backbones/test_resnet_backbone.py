import pytest
import torch
from torch import nn

from mmdense.models.backbones import ResNet
from mmdense.models.layers import fold_batch_norms
from mmdense.registry import MODELS


def small(**kwargs):
    torch.manual_seed(0)
    return MODELS.build(dict(type='ResNet', **dict(depth=50, base_channels=2, **kwargs)))


@pytest.mark.parametrize('size', [(65, 97), (64, 96)])
def test_sizes_channels_and_strides(size):
    model = small()
    assert (model.channels, model.strides) == ((8, 16, 32, 64), (4, 8, 16, 32))
    for x, c, s in zip(model(torch.randn(2, 3, *size)), model.channels, model.strides):
        assert x.shape == (2, c, *(-(-n // s) for n in size))


def test_norms_have_the_published_constants_and_nothing_is_frozen():
    model = ResNet(50, base_channels=2).train()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum, m.training) for m in norms} == {(1e-3, 0.01, True)}
    assert all(p.requires_grad for p in model.parameters())
    assert model.layer2[0].conv2.stride == (2, 2) and model.layer2[0].conv1.stride == (1, 1)


@pytest.mark.parametrize('depth', [18, 50])
def test_pre_activation_features_are_those_ahead_of_the_last_relu(depth):
    model = ResNet(depth, base_channels=64 if depth == 18 else 2).eval()
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_()
    x = torch.randn(1, 3, 33, 33)
    with torch.no_grad():
        after = model(x)
        model.pre_activation_features = True
        before = model(x)
    for a, b in zip(after, before):
        torch.testing.assert_close(b.relu(), a)
        assert (b < 0).any()


def test_pre_activation_features_train_with_recomputation():
    grads = []
    for with_cp in (False, True):
        model = small(pre_activation_features=True, with_cp=with_cp)
        torch.manual_seed(1)
        x = torch.randn(2, 3, 64, 64, requires_grad=True)
        sum(y.square().mean() for y in model(x)).backward()
        grads.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-3, atol=1e-4)


def test_pre_activation_features_refuse_plugins():
    with pytest.raises(ValueError, match='does not run `plugins`'):
        ResNet(50, pre_activation_features=True, plugins=[dict(cfg=dict(type='X'))])


def test_torchvision_names_load_as_they_are():
    names = set(ResNet(50, base_channels=2).state_dict())
    assert {
        'conv1.weight',
        'bn1.running_var',
        'layer1.0.downsample.1.weight',
        'layer4.2.conv3.weight',
    } <= names


@torch.no_grad()
def test_folding_keeps_the_function():
    model = small().eval()
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_()
            m.weight.data.uniform_(0.5, 1.5)
    x = torch.randn(1, 3, 64, 64)
    before = model(x)
    after = fold_batch_norms(model)(x)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    for a, b in zip(after, before):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * b.abs().max().item())
