import math

import pytest
import torch
from torch import nn

from mmdense.models.layers import (
    BNSettings,
    ChannelLayerNorm,
    ConstructorInitModule,
    ConvNorm,
    DropPath,
    LinearNorm,
    checkpointed,
    fold_batch_norms,
    he_trunc_normal_,
    trunc_normal_,
)


def with_statistics(module):
    for norm in module.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
                tensor.normal_()
            norm.running_var.uniform_(0.5, 2)
    return module.eval()


def test_truncated_normal_is_cut_at_two_std():
    x = trunc_normal_(torch.empty(20000), 0.5)
    assert x.abs().max() <= 1.0
    assert x.std().item() == pytest.approx(0.5 * 0.8796, rel=0.03)


def test_he_std_counts_the_kernel_area():
    weight = he_trunc_normal_(torch.empty(64, 32, 3, 3))
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (32 * 9)), rel=0.03)


def test_batch_norm_constants_reach_the_modules():
    bn = BNSettings(eps=0.5, momentum=0.25)
    for layer in (ConvNorm(2, 3, bn=bn), LinearNorm(2, 3, bn=bn)):
        assert (layer.bn.eps, layer.bn.momentum) == (0.5, 0.25)
    assert (ConvNorm(2, 3).bn.eps, ConvNorm(2, 3).bn.momentum) == (1e-3, 0.01)


def test_linear_norm_equals_convolution_of_the_transposed_input():
    linear = LinearNorm(4, 6)
    conv = ConvNorm(4, 6)
    conv.conv.weight.data = linear.linear.weight.data[:, :, None, None]
    x = torch.randn(3, 5, 4)
    for mode in (True, False):
        linear.train(mode), conv.train(mode)
        expected = conv(x.transpose(1, 2).unsqueeze(-1)).squeeze(-1).transpose(1, 2)
        torch.testing.assert_close(linear(x), expected)
    torch.testing.assert_close(linear.bn.running_var, conv.bn.running_var)


@torch.no_grad()
def test_folding_keeps_the_function():
    model = nn.ModuleDict(
        dict(
            a=ConvNorm(3, 8, 3, bias=True),
            b=ConvNorm(8, 8, 5, groups=8, init='xavier'),
            c=LinearNorm(3, 8),
        )
    ).double()
    with_statistics(model)
    x, q = torch.randn(2, 3, 6, 7).double(), torch.randn(2, 5, 3).double()
    before = model['b'](model['a'](x)), model['c'](q)
    kernel, shift = model['a'].eval_kernel()
    assert fold_batch_norms(model) is model
    torch.testing.assert_close((model['b'](model['a'](x)), model['c'](q)), before)
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
    torch.testing.assert_close(model['a'].eval_kernel(), (kernel, shift))
    fold_batch_norms(model)  # a second time changes nothing


def test_folding_refuses_training_mode():
    with pytest.raises(ValueError, match=r'Call `\.eval\(\)` first'):
        fold_batch_norms(nn.Sequential(ConvNorm(1, 1)))


def test_synchronised_norms_keep_constants_and_initial_scale():
    model = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(ConvNorm(2, 3, gamma=0.0)))
    assert type(model[0].bn) is nn.SyncBatchNorm
    assert model[0].bn.eps == 1e-3 and not model[0].bn.weight.any()


def test_channel_layer_norm_over_channels_without_copy():
    norm = ChannelLayerNorm(5)
    norm.weight.data.uniform_()
    x = torch.randn(2, 5, 3, 4).to(memory_format=torch.channels_last)
    y = norm(x)
    mean, var = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
    expected = (x - mean) / (var + 1e-6).sqrt() * norm.weight[:, None, None]
    torch.testing.assert_close(y, expected)
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_drop_path_drops_whole_samples_at_the_stated_rate(dtype):
    torch.manual_seed(0)
    y = DropPath(0.25)(torch.ones(40000, 1, 2, dtype=dtype)).flatten(1)
    assert torch.equal(y[:, 0], y[:, 1])
    assert (y == 0).float().mean().item() == pytest.approx(0.25, abs=0.006)
    assert y.max().item() == pytest.approx(1 / 0.75, rel=5e-3)


def test_drop_path_is_the_identity_in_eval_mode_and_checks_its_rate():
    x = torch.randn(3, 2)
    assert DropPath(0.9).eval()(x) is x
    with pytest.raises(ValueError, match='drop_prob=1'):
        DropPath(1.0)


def test_recomputation_moves_running_statistics_once():
    torch.manual_seed(0)
    layer = ConvNorm(2, 3)
    x = torch.randn(4, 2, 3, 3, requires_grad=True)
    layer(x).square().sum().backward()
    plain = layer.bn.running_mean.clone(), x.grad.clone(), layer.conv.weight.grad.clone()
    layer.bn.reset_running_stats()
    layer.zero_grad()
    x.grad = None
    checkpointed(layer, x).square().sum().backward()
    again = layer.bn.running_mean, x.grad, layer.conv.weight.grad
    torch.testing.assert_close(again, plain)
    assert layer.bn.num_batches_tracked == 1 and layer.bn.momentum == 0.01


class _Part(ConstructorInitModule):
    def __init__(self):
        super().__init__()
        self.conv = ConvNorm(4, 4, act=False, gamma=0.0)


def test_init_weights_keeps_weights_set_by_hand():
    part = _Part()
    part.conv.conv.weight.data.fill_(7)
    part.init_weights()
    assert (part.conv.conv.weight == 7).all()


def test_init_weights_initialises_what_was_built_on_the_meta_device():
    with torch.device('meta'):
        part = _Part()
    part.to_empty(device='cpu')
    for tensor in (*part.parameters(), *part.buffers()):
        tensor.data.fill_(3)
    part.init_weights()
    assert 0.3 < part.conv.conv.weight.std() < 1.2
    assert not part.conv.bn.weight.any() and (part.conv.bn.running_var == 1).all()
