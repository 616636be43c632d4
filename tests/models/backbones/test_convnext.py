import pytest
import torch
import torch.nn.functional as F

from mmdense.models.backbones import ConvNeXt
from mmdense.registry import MODELS
from mmdense.utils import ShapeError

TINY = dict(arch=dict(depths=(1, 1, 2, 1), channels=(4, 6, 8, 10)))


@pytest.mark.parametrize('size', [(481, 641), (513, 513), (545, 65), (33, 97)])
def test_odd_sizes_give_corner_aligned_maps(size):
    maps = ConvNeXt(arch=dict(depths=(1, 0, 0, 0), channels=(2, 2, 2, 2)))(torch.randn(1, 3, *size))
    for x, stride in zip(maps, (4, 8, 16, 32)):
        assert x.shape[-2:] == tuple((n - 1) // stride + 1 for n in size)


@pytest.mark.parametrize('pad', ['auto', True])
def test_even_sizes_give_divided_maps(pad):
    maps = ConvNeXt(**TINY, zero_pad_downsample=pad)(torch.randn(1, 3, 96, 160))
    for x, stride, channels in zip(maps, (4, 8, 16, 32), (4, 6, 8, 10)):
        assert x.shape == (1, channels, 96 // stride, 160 // stride)


@torch.no_grad()
def test_follows_the_definition_layer_by_layer():
    torch.manual_seed(0)
    model = ConvNeXt(**TINY, layer_scale_init=0.7).double()
    for p in model.parameters():
        p.add_(0.1 * torch.randn_like(p))
    x = torch.randn(2, 3, 65, 65).double()
    outs = model(x)

    def layer_norm(t, norm):
        mean = t.mean(1, keepdim=True)
        var = t.var(1, unbiased=False, keepdim=True)
        scale, shift = norm.weight[:, None, None], norm.bias[:, None, None]
        return (t - mean) / (var + 1e-6).sqrt() * scale + shift

    conv, norm = model.stem
    t = layer_norm(F.conv2d(F.pad(x, (1, 2, 1, 2)), conv.weight, conv.bias, stride=4), norm)
    for i, stage in enumerate(model.stages):
        if i:
            norm, conv = stage.downsample
            padded = F.pad(t, (0, 1, 0, 1))
            normed = layer_norm(padded, norm)
            # The padding pixels turn into the bias of the norm.
            expected_edge = norm.bias[:, None].expand(-1, normed.shape[-2])
            torch.testing.assert_close(normed[0, :, :, -1], expected_edge)
            t = F.conv2d(normed, conv.weight, conv.bias, stride=2)
        for b in stage.blocks:
            y = F.conv2d(t, b.conv_dw.weight, b.conv_dw.bias, padding=3, groups=t.shape[1])
            y = layer_norm(y, b.norm)
            y = F.conv2d(y, b.mlp.fc1.weight[:, :, None, None], b.mlp.fc1.bias)
            y = F.conv2d(F.gelu(y), b.mlp.fc2.weight[:, :, None, None], b.mlp.fc2.bias)
            t = t + y * b.gamma[:, None, None]
        torch.testing.assert_close(outs[i], t)


def test_drop_path_rates_rise_linearly():
    model = ConvNeXt('atto', drop_path_rate=0.55)
    rates = [block.drop_path.drop_prob for stage in model.stages for block in stage.blocks]
    assert rates == pytest.approx([0.05 * i for i in range(12)])


def test_recomputed_blocks_give_the_same_gradients():
    model = ConvNeXt(**TINY, drop_path_rate=0.5)
    x = torch.randn(4, 3, 32, 32)
    grads = []
    for model.with_cp in (False, True):
        model.zero_grad()
        torch.manual_seed(0)
        sum(y.square().sum() for y in model(x)).backward()
        grads.append([p.grad.clone() for p in model.parameters()])
    torch.testing.assert_close(grads[1], grads[0])


def test_registered_with_out_indices_and_without_layer_scale():
    model = MODELS.build(dict(type='ConvNeXt', **TINY, out_indices=(1, 3), layer_scale_init=0))
    assert (model.channels, model.strides) == ((6, 10), (8, 32))
    assert [x.shape[1] for x in model(torch.randn(1, 3, 64, 64))] == [6, 10]
    assert not any('gamma' in name for name in model.state_dict())


def test_meta_model_is_initialised_after_materialising():
    with torch.device('meta'):
        model = ConvNeXt(**TINY)
    model.to_empty(device='cpu').init_weights()
    gamma = model.stages[0].blocks[0].gamma
    assert torch.equal(gamma, torch.full((4,), 1e-6))
    assert 0.01 < model.stem[0].weight.std() < 0.03


def test_wrong_use_names_the_argument():
    with pytest.raises(ValueError, match=r"arch='tinny' is unknown.*Did you mean 'tiny'"):
        ConvNeXt('tinny')
    with pytest.raises(ValueError, match='one entry per stage'):
        ConvNeXt(dict(depths=(1, 1), channels=(4,)))
    with pytest.raises(ValueError, match="zero_pad_downsample='yes'"):
        ConvNeXt(**TINY, zero_pad_downsample='yes')
    with pytest.raises(ValueError, match=r'out_indices=\(4,\), expected stages of 0 to 3'):
        ConvNeXt(**TINY, out_indices=(4,))
    with pytest.raises(ShapeError, match=r'input \(1, 1, 32, 32\), expected \(B, 3, H, W\)'):
        ConvNeXt(**TINY)(torch.randn(1, 1, 32, 32))


def test_bf16_autocast_runs_forward_and_backward():
    model = ConvNeXt(**TINY)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = sum(y.float().square().mean() for y in model(torch.randn(2, 3, 33, 33)))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
