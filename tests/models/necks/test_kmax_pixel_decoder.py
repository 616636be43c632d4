import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmdense.models.layers import fold_batch_norms
from mmdense.models.necks import KMaXPixelDecoder
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.utils import ShapeError

CHANNELS = (6, 8, 12, 16)
SMALL = dict(widths=(8, 8, 4, 4), num_blocks=(1, 2, 1, 1), num_heads=2, max_span=9)


def build(in_channels=CHANNELS, **kwargs):
    torch.manual_seed(0)
    return MODELS.build(
        dict(type='KMaXPixelDecoder', in_channels=in_channels, **{**SMALL, **kwargs})
    )


def randomised(model):
    """Statistics and parameters off their initial values, so that every branch counts."""
    generator = torch.Generator().manual_seed(1)
    for p in model.parameters():
        if p.ndim == 1:
            p.data = 0.5 + torch.rand(p.shape, generator=generator, dtype=p.dtype)
    for name, b in model.named_buffers():
        if name.endswith('running_mean'):
            b.copy_(0.3 * torch.randn(b.shape, generator=generator))
        elif name.endswith('running_var'):
            b.copy_(0.5 + torch.rand(b.shape, generator=generator))
    return model


def features(size=(64, 96), batch=2, channels=CHANNELS, dtype=torch.float32):
    odd = size[1] % 2
    maps = tuple(
        torch.randn(batch, c, *((n - odd) // s + odd for n in size), dtype=dtype)
        for c, s in zip(channels, (4, 8, 16, 32))
    )
    return DenseFeatures(shared=maps, backbone=maps, image_size=size)


@pytest.mark.parametrize('size', [(64, 96), (65, 97), (481, 641), (513, 513)])
@torch.no_grad()
def test_maps_keep_their_sizes(size):
    model = build().eval()
    feats = features(size, batch=1)
    out = model(feats)
    assert model.takes_features and model.channels == (16, 16, 32, 32)
    for x, y, c in zip(feats.shared, out.shared, model.channels):
        assert y.shape == (1, c, *x.shape[-2:])
    assert out.backbone is feats.backbone and out.image_size == size


@pytest.mark.parametrize('size', [(64, 96), (65, 97)])
@torch.no_grad()
def test_follows_the_definition(size):
    model = randomised(build().double()).eval()
    feats = features(size, dtype=torch.float64)

    def conv_bn(x, layer):
        bn = layer.bn
        x = F.conv2d(x, layer.conv.weight, padding=layer.conv.weight.shape[-1] // 2)
        view = (slice(None), None, None)
        x = (x - bn.running_mean[view]) / (bn.running_var[view] + 1e-3).sqrt()
        return x * bn.weight[view] + bn.bias[view]

    def layer_norm(x, norm):
        x = (x - x.mean(1, keepdim=True)) / (x.var(1, unbiased=False, keepdim=True) + 1e-6).sqrt()
        return x * norm.weight[:, None, None] + norm.bias[:, None, None]

    def run_block(block, x, axial):
        x = F.gelu(x)
        shortcut = x if block.shortcut is None else conv_bn(x, block.shortcut)
        y = F.gelu(conv_bn(x, block.branch.conv1))
        if axial:
            y = F.gelu(block.branch.width(block.branch.height(y)))
        else:
            y = F.gelu(conv_bn(y, block.branch.conv2))
        return shortcut + conv_bn(y, block.branch.conv3)

    expected, x = [], None
    for i, raw in enumerate(reversed(feats.shared)):
        high = layer_norm(raw, model.input_norms[i])
        if x is None:
            x = high
        else:
            fusion = model.fusions[i - 1]
            low = conv_bn(F.gelu(x), fusion.low)
            low = F.interpolate(low, high.shape[-2:], mode='bilinear', align_corners=size[1] == 97)
            x = low + (high if fusion.high is None else conv_bn(F.gelu(high), fusion.high))
        for block in model.stages[i]:
            x = run_block(block, x, axial=i < 2)
        expected.insert(0, x)
    for got, want in zip(model(feats).shared, expected):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


def test_shortcuts_and_projections_appear_where_channels_differ():
    # OS32 has 4 * 8 channels; OS8 and OS4 have the base width of their stage.
    channels = (4, 4, 12, 32)
    model = build(channels)
    assert model.stages[0][0].shortcut is None
    assert model.stages[1][0].shortcut is not None and model.stages[1][1].shortcut is None
    assert model.fusions[2].high is None and model.fusions[1].high is None
    assert model.fusions[0].high is not None
    assert model(features(channels=channels)).shared[0].shape[1] == 16


def test_blocks_start_as_their_shortcut():
    model = build()
    for stage in model.stages:
        for block in stage:
            assert not block.branch.conv3.bn.weight.any()
    x = torch.randn(2, 32, 4, 5)
    torch.testing.assert_close(model.stages[1][1](x), F.gelu(x))


def test_initial_scales():
    model = KMaXPixelDecoder((96, 192, 384, 768))
    attention = model.stages[1][0].branch.height
    assert attention.qkv.conv.weight.std().item() == pytest.approx(0.8796 * 512**-0.5, rel=0.02)
    assert attention.query_table.std().item() == pytest.approx(0.8796, rel=0.03)
    conv = model.stages[3][0].branch.conv2.conv.weight
    assert conv.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.03)


@pytest.mark.parametrize(('dtype', 'tol'), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_inference_forms_equal_the_plain_path(dtype, tol):
    model = randomised(build().to(dtype)).eval()
    feats = features((65, 97), dtype=dtype)
    plain = [y.detach() for y in model(feats).shared]
    with torch.no_grad():
        fast = model(feats).shared
        folded = fold_batch_norms(model)(feats).shared
    for a, b, c in zip(plain, fast, folded):
        scale = a.abs().max().item()
        torch.testing.assert_close(b, a, rtol=0, atol=tol * scale)
        torch.testing.assert_close(c, a, rtol=0, atol=tol * scale)
    left = [n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert left and all('similarity' in n or 'output' in n for n in left)


@pytest.mark.parametrize('with_cp', [False, True, (False, True, False, False)])
def test_every_parameter_has_a_gradient(with_cp):
    model = randomised(build(drop_path=0.3, with_cp=with_cp))
    reference = randomised(build(drop_path=0.3))
    feats = features()
    for m in (model, reference):
        torch.manual_seed(3)
        sum(y.square().mean() for y in m(feats).shared).backward()
    for (name, p), q in zip(model.named_parameters(), reference.parameters()):
        assert p.grad is not None, name
        torch.testing.assert_close(p.grad, q.grad)
    torch.testing.assert_close(dict(model.named_buffers()), dict(reference.named_buffers()))


def test_bf16_autocast_runs_forward_and_backward():
    model = build()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = sum(y.float().square().mean() for y in model(features()).shared)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    model.eval()
    feats = features()
    with torch.no_grad(), torch.autocast('cpu', dtype=torch.bfloat16):
        low = model(feats).shared[0].float()
    with torch.no_grad():
        high = model(feats).shared[0]
    assert (low - high).norm() < 0.05 * high.norm()


def test_constants_reach_every_batch_norm():
    model = build(bn_eps=0.1, bn_momentum=0.2, norm_eps=0.3)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(0.1, 0.2)}
    assert {m.eps for m in model.input_norms} == {0.3}


def test_wrong_use_names_the_argument():
    with pytest.raises(ValueError, match=r'widths=\(8, 4\) has 2 entries, expected 4'):
        build(widths=(8, 4))
    with pytest.raises(ValueError, match=r"block_types has \['conv'\]"):
        build(block_types=('axial', 'conv', 'axial', 'axial'))
    with pytest.raises(ShapeError, match=r'expected in_channels=\(6, 8, 12, 16\)'):
        build()(features(channels=(6, 8, 12, 17)))
