import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmdense.models.heads import AuxiliarySemanticDecoder
from mmdense.models.layers import fold_batch_norms
from mmdense.registry import MODELS
from mmdense.utils import ShapeError

CHANNELS = (4, 6, 8, 10)
SMALL = dict(aspp_channels=8, aspp_rates=(1, 2), projections=(5, 3), head_channels=7)


def build(**kwargs):
    torch.manual_seed(0)
    cfg = dict(type='AuxiliarySemanticDecoder', in_channels=CHANNELS, out_channels=9)
    model = MODELS.build({**cfg, **SMALL, **kwargs})
    for name, b in model.named_buffers():
        if name.endswith('running_mean'):
            b.normal_()
    return model


def maps(batch=2, size=(16, 24), dtype=torch.float32):
    h, w = size
    return tuple(
        torch.randn(batch, c, -(-h // s), -(-w // s), dtype=dtype)
        for c, s in zip(CHANNELS, (1, 2, 4, 8))
    )


@pytest.mark.parametrize('align_corners', [False, True])
@torch.no_grad()
def test_follows_the_definition(align_corners):
    model = build().double().eval()
    features = maps(size=(17, 25), dtype=torch.float64)

    def layer(x, m, rate=1):
        kernel = m.conv.weight.shape[-1]
        x = F.conv2d(
            x, m.conv.weight, padding=rate * (kernel // 2), dilation=rate, groups=m.conv.groups
        )
        bn = m.bn
        x = F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=1e-3)
        return F.gelu(x)

    def up(x, like):
        return F.interpolate(x, like.shape[-2:], mode='bilinear', align_corners=align_corners)

    os32 = features[3]
    pooled = layer(os32.mean((2, 3), keepdim=True), model.aspp.pool)
    branches = [layer(os32, m, r) for m, r in zip(model.aspp.branches, (1, 1, 2))]
    x = layer(torch.cat([*branches, pooled.expand_as(branches[0])], 1), model.aspp.project)
    for fusion, high in zip(model.fusions, (features[1], features[0])):
        x = torch.cat([up(x, high), layer(high, fusion.project)], 1)
        x = layer(layer(x, fusion.fuse[0]), fusion.fuse[1])
    x = layer(layer(x, model.head[0]), model.head[1])
    expected = F.conv2d(x, model.classifier.weight, model.classifier.bias)
    got = model(features, align_corners=align_corners)
    assert got.shape == (2, 9, 17, 25)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(fold_batch_norms(model)(features, align_corners), expected)


def test_short_form_reads_the_coarsest_map_and_has_no_void():
    model = build(short=True)
    assert model.aspp is None and not len(model.fusions)
    assert model(maps()).shape == (2, 8, 2, 3)
    assert model.head[0].conv.weight.shape == (10, 1, 5, 5)


@pytest.mark.parametrize('short', [False, True])
@pytest.mark.parametrize('batch', [1, 2])
def test_every_parameter_has_a_gradient_also_with_one_picture(batch, short):
    model = build(short=short)
    (model(maps(batch)) * torch.randn(9 - short, 1, 1)).sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), name


def test_one_picture_is_pooled_by_running_statistics_only_without_synchronisation():
    aspp = build().aspp.train()
    x = torch.randn(1, 10, 4, 5)
    pooled = aspp._pooled(x)
    torch.testing.assert_close(pooled, aspp.eval()._pooled(x))
    assert aspp.pool.bn.num_batches_tracked == 0


def test_initialisation_and_defaults():
    model = AuxiliarySemanticDecoder((96, 192, 384, 768), 134)
    assert model.classifier.weight.std().item() == pytest.approx(0.0088, rel=0.03)
    assert not model.classifier.bias.any() and model.aspp.dropout.p == 0.1
    assert [m.conv.dilation[0] for m in model.aspp.branches] == [1, 6, 12, 18]
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.01)}


def test_bf16_autocast_runs():
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = build()(maps()).float().square().mean()
    loss.backward()
    assert loss.isfinite()


def test_wrong_use_names_the_argument():
    with pytest.raises(ValueError, match=r'projections=\(5,\) and fusion_indices=\(1, 0\)'):
        build(projections=(5,))
    with pytest.raises(ShapeError, match=r'expected in_channels=\(4, 6, 8, 10\)'):
        build()(maps()[1:])
