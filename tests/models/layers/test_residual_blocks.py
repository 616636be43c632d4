"""Residual blocks, the fusion of levels and the pyramid, against their formulas."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmdense.models.layers import (
    ASPP,
    LevelFusion,
    basic_block,
    bottleneck,
    concat_levels,
    conv_norm_relu,
)


def randomize(module):
    """Norms that do something, in eval mode and float64."""
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            for tensor in (m.weight, m.bias, m.running_mean):
                nn.init.normal_(tensor)
            nn.init.uniform_(m.running_var, 0.5, 2)
    return module.double().eval()


def norm(x, m):
    def spread(v):
        return v[:, None, None]

    scaled = (x - spread(m.running_mean)) / (spread(m.running_var) + 1e-5).sqrt()
    return scaled * spread(m.weight) + spread(m.bias)


@pytest.mark.parametrize(('in_channels', 'projected'), [(6, True), (8, False)])
def test_basic_block(in_channels, projected):
    block = randomize(basic_block(in_channels, 8))
    x = torch.randn(3, in_channels, 4, 5).double()
    y = norm(F.conv2d(x, block.conv1.weight, padding=1), block.bn1).relu()
    y = norm(F.conv2d(y, block.conv2.weight, padding=1), block.bn2)
    skip = x
    if projected:
        conv, bn = block.downsample
        skip = norm(F.conv2d(x, conv.weight), bn)
    torch.testing.assert_close(block(x), (y + skip).relu())
    more = in_channels * 8 + 16 if projected else 0
    total = 9 * in_channels * 8 + 9 * 64 + 32 + more
    assert sum(p.numel() for p in block.parameters()) == total


@pytest.mark.parametrize(('in_channels', 'projected'), [(6, True), (8, False)])
def test_bottleneck(in_channels, projected):
    block = randomize(bottleneck(in_channels, 2))
    x = torch.randn(3, in_channels, 4, 5).double()
    y = norm(F.conv2d(x, block.conv1.weight), block.bn1).relu()
    y = norm(F.conv2d(y, block.conv2.weight, padding=1), block.bn2).relu()
    y = norm(F.conv2d(y, block.conv3.weight), block.bn3)
    skip = x
    if projected:
        conv, bn = block.downsample
        skip = norm(F.conv2d(x, conv.weight), bn)
    torch.testing.assert_close(block(x), (y + skip).relu())


def test_weights_start_as_pytorch_starts_them():
    """Uniform within 1 / sqrt(fan-in)."""
    for module in (basic_block(60, 64), bottleneck(60, 64), conv_norm_relu(60, 64, 3)):
        module.init_weights() if hasattr(module, 'init_weights') else None
        for m in module.modules():
            if isinstance(m, nn.Conv2d):
                bound = 1 / math.sqrt(m.weight[0].numel())
                assert m.bias is None and 0.95 * bound < m.weight.abs().max() <= bound
                assert m.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)
            if isinstance(m, nn.BatchNorm2d):
                assert m.eps == 1e-5 and m.momentum == 0.1 and (m.weight == 1).all()


@pytest.mark.parametrize('align_corners', [False, True])
def test_levels_are_resized_to_the_largest(align_corners):
    maps = [torch.randn(2, c, h, w) for c, h, w in ((3, 2, 3), (2, 8, 10), (4, 4, 5))]
    expected = [
        F.interpolate(x, (8, 10), mode='bilinear', align_corners=align_corners) for x in maps
    ]
    torch.testing.assert_close(concat_levels(maps, align_corners), torch.cat(expected, 1))
    assert concat_levels(maps[:1], align_corners) is maps[0]


def test_fusion_of_levels():
    fusion = randomize(LevelFusion((2, 3), 4))
    fine, coarse = torch.randn(2, 2, 4, 6).double(), torch.randn(2, 3, 2, 3).double()
    conv, bn, _ = fusion.mix
    x = torch.cat([fine, F.interpolate(coarse, (4, 6), mode='bilinear')], 1)
    torch.testing.assert_close(
        fusion([fine, coarse], False), norm(F.conv2d(x, conv.weight, conv.bias), bn).relu()
    )
    assert conv.bias is not None
    assert LevelFusion((2, 3)).channels == 5


def test_atrous_spatial_pyramid_pooling():
    aspp = randomize(ASPP(3, 4, (2, 3), dict(type='BN'), dict(type='ReLU')))
    x = torch.randn(2, 3, 7, 8).double()

    def unit(y, m, **kwargs):
        return norm(F.conv2d(y, m.conv.weight, **kwargs), m.norm if hasattr(m, 'norm') else m.bn)

    point, two, three, pool = aspp.branches
    pooled = unit(x.mean((2, 3), keepdim=True), pool).relu().expand(-1, -1, 7, 8)
    branches = [
        unit(x, point).relu(),
        unit(x, two, padding=2, dilation=2).relu(),
        unit(x, three, padding=3, dilation=3).relu(),
        pooled,
    ]
    expected = unit(torch.cat(branches, 1), aspp.project).relu()
    torch.testing.assert_close(aspp(x), expected)
