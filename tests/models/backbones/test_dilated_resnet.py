import pytest
import torch
import torch.nn.functional as F

from mmdense.models.backbones import DilatedResNet


def small(depth, **kwargs):
    model = DilatedResNet(depth, stem_channels=8, base_channels=8, **kwargs).eval()
    for name, value in model.state_dict().items():
        if name.endswith(('running_mean', 'bias')):
            value.normal_(std=0.3)
        elif name.endswith(('running_var', 'weight')) and value.ndim == 1:
            value.uniform_(0.5, 1.5)
    return model


def plain(state, x, second_dilated):
    """The network from its weights: strides and dilations written out layer by layer."""

    def conv(x, name, norm, stride=1, dilation=1):
        weight = state[f'{name}.weight']
        pad = dilation * (weight.shape[-1] // 2)
        x = F.conv2d(x, weight, None, stride, pad, dilation)
        stats = [state[f'{norm}.{k}'] for k in ('running_mean', 'running_var', 'weight', 'bias')]
        return F.batch_norm(x, *stats)

    x = F.max_pool2d(conv(x, 'conv1', 'bn1', 2).relu(), 3, 2, 1)
    outs = []
    # Of the 3x3 convolutions: stride and dilation of the first in the stage, dilation after.
    for stage, (stride, first, rest) in enumerate([(1, 1, 1), (2, 1, 1), (1, 1, 2), (1, 2, 4)], 1):
        block = 0
        while f'layer{stage}.{block}.conv1.weight' in state:
            name = f'layer{stage}.{block}'
            s, d = (1, rest) if block else (stride, first)
            if f'{name}.conv3.weight' in state:
                y = conv(x, f'{name}.conv1', f'{name}.bn1').relu()
                y = conv(y, f'{name}.conv2', f'{name}.bn2', s, d).relu()
                y = conv(y, f'{name}.conv3', f'{name}.bn3')
            else:
                y = conv(x, f'{name}.conv1', f'{name}.bn1', s, d).relu()
                second = rest if second_dilated else 1
                y = conv(y, f'{name}.conv2', f'{name}.bn2', 1, second)
            if f'{name}.downsample.0.weight' in state:
                x = conv(x, f'{name}.downsample.0', f'{name}.downsample.1', s)
            x = (x + y).relu()
            block += 1
        outs.append(x)
    return outs


@torch.no_grad()
@pytest.mark.parametrize(('depth', 'second'), [(18, True), (18, False), (50, True), (50, False)])
def test_every_convolution_has_its_stride_and_dilation(depth, second):
    model = small(depth, dilate_second_conv=second)
    x = torch.randn(1, 3, 65, 97)
    expected = plain(model.state_dict(), x, second)
    for found, wanted in zip(model(x), expected):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ('output_stride', 'strides'),
    [(8, (4, 8, 8, 8)), (16, (4, 8, 16, 16)), (32, (4, 8, 16, 32))],
)
def test_strides_and_sizes(output_stride, strides):
    model = DilatedResNet(18, base_channels=4, output_stride=output_stride)
    assert model.strides == strides and model.channels == (4, 8, 16, 32)
    for x, c, s in zip(model(torch.randn(1, 3, 65, 97)), model.channels, strides):
        assert x.shape == (1, c, -(-65 // s), -(-97 // s))
    last = DilatedResNet(18, base_channels=4, output_stride=output_stride, out_indices=(3,))
    assert (last.channels, last.strides) == ((32,), strides[-1:])


def test_norms_are_those_of_pytorch_and_names_those_of_torchvision():
    model = DilatedResNet(50, base_channels=2)
    assert (model.bn1.eps, model.bn1.momentum, model.bn1.weight.requires_grad) == (1e-5, 0.1, True)
    assert {'conv1.weight', 'layer4.2.conv3.weight'} <= set(model.state_dict())


def test_other_strides_are_one_clear_error():
    with pytest.raises(ValueError, match='output_stride is 4; choose 8, 16 or 32'):
        DilatedResNet(18, output_stride=4)
