"""All levels as one map, and its width reduced per pixel."""

import pytest
import torch
import torch.nn.functional as F

from mmdense.models.necks import MultiScaleFusion, WidthReduction
from mmdense.structures import DenseFeatures
from mmdense.utils import ShapeError

CHANNELS = (3, 4, 5, 6)


def levels(height=27, width=35):
    return tuple(
        torch.randn(2, c, -(-height // s), -(-width // s)) for c, s in zip(CHANNELS, (1, 2, 4, 8))
    )


@pytest.mark.parametrize(
    ('in_index', 'taken'),
    [(None, (0, 1, 2, 3)), ((0,), (0,)), ((0, 1), (0, 1)), ((0, -1), (0, 3)), ((1, 2), (1, 2))],
)
def test_levels_are_resized_to_the_finest_taken_and_concatenated(in_index, taken):
    maps = levels()
    neck = MultiScaleFusion(CHANNELS, in_index)
    assert neck.channels == (sum(CHANNELS[i] for i in taken),)
    # The odd width would align corners elsewhere; DeMT never does.
    feats = DenseFeatures(shared=maps, backbone=maps, image_size=(108, 137))
    out = neck(feats)
    size = maps[taken[0]].shape[-2:]
    expected = [F.interpolate(maps[i], size, mode='bilinear', align_corners=False) for i in taken]
    torch.testing.assert_close(out.shared[0], torch.cat(expected, 1))
    assert len(out.shared) == 1 and out.backbone is maps


def test_wrong_levels_are_one_clear_error():
    with pytest.raises(ValueError, match=r'in_index=\(0, 4\) for 4 levels'):
        MultiScaleFusion(CHANNELS, (0, 4))
    with pytest.raises(ValueError, match='names a level twice'):
        MultiScaleFusion(CHANNELS, (0, -4))
    with pytest.raises(ShapeError, match=r'MultiScaleFusion.*\(3, 4\) channels, expected'):
        MultiScaleFusion(CHANNELS)(DenseFeatures(shared=levels()[:2]))


@pytest.mark.parametrize('order', ['norm_linear', 'linear_norm'])
def test_reduction_of_each_pixel(order):
    neck = WidthReduction(6, 4, order).double()
    torch.nn.init.normal_(neck.norm.weight)
    x = torch.randn(2, 6, 3, 5).double()
    out = neck(DenseFeatures(shared=(x, x[:, :, :1]))).shared
    assert [tuple(y.shape) for y in out] == [(2, 4, 3, 5), (2, 4, 1, 5)]
    pixel = x[1, :, 2, 3]

    def norm(v):
        scaled = (v - v.mean()) / (v.var(correction=0) + 1e-5).sqrt()
        return scaled * neck.norm.weight + neck.norm.bias

    def linear(v):
        return neck.linear.weight @ v + neck.linear.bias

    expected = linear(norm(pixel)) if order == 'norm_linear' else norm(linear(pixel))
    torch.testing.assert_close(out[0][1, :, 2, 3], expected)


def test_reduction_says_what_does_not_fit():
    with pytest.raises(ValueError, match="order is 'norm'"):
        WidthReduction(6, 4, 'norm')
    with pytest.raises(ShapeError, match='has 5 channels'):
        WidthReduction(6, 4)(DenseFeatures(shared=(torch.zeros(1, 5, 2, 2),)))
