"""Residual, HRNet and ASPP heads: what they compute and how they start."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmdense.models.heads import ASPPHead, HRHead, ResidualHead
from mmdense.models.necks import MultiScaleFusion
from mmdense.structures import DenseFeatures
from mmdense.tasks import build_tasks

TASK = build_tasks(dict(depth=dict(type='Depth')))['depth']
CHANNELS = (4, 6, 8)


def levels(batch=2):
    return tuple(torch.randn(batch, c, 8 >> i, 12 >> i) for i, c in enumerate(CHANNELS))


def test_residual_head_is_its_blocks_and_a_pointwise_convolution():
    head = ResidualHead(TASK, 8, in_index=-1, num_blocks=3).eval()
    assert len(head.blocks) == 3
    feats = DenseFeatures(shared=levels())
    x = feats.shared[-1]
    for block in head.blocks:
        assert block.conv2.weight.shape == (2, 2, 3, 3) and block.downsample is None
        x = block(x)
    torch.testing.assert_close(head(feats), F.conv2d(x, head.predictor.weight, head.predictor.bias))


def test_hr_heads_behind_one_fusion_give_the_same():
    """The levels may be concatenated once for all tasks."""
    every = HRHead(TASK, CHANNELS)
    one = HRHead(TASK, sum(CHANNELS), in_index=0)
    one.load_state_dict(every.state_dict())
    feats = DenseFeatures(shared=levels(), image_size=(32, 48))
    torch.testing.assert_close(one(MultiScaleFusion(CHANNELS)(feats)), every(feats))
    assert every(feats).shape == (2, 1, 8, 12)


def test_hr_head_takes_chosen_levels():
    head = HRHead(TASK, CHANNELS[1:], in_index=(1, 2), channels=5)
    assert head(DenseFeatures(shared=levels())).shape == (2, 1, 4, 6)
    assert head.predictor.in_channels == 5


def test_aspp_head_drops_single_values():
    head = ASPPHead(TASK, 8, channels=4, dilations=(1,))
    x = torch.randn(2, 4, 20, 30) + 10
    kept = head.dropout(x) != 0
    assert 0.45 < kept.float().mean() < 0.55
    assert (kept.float().mean((2, 3)) - 0.5).abs().max() < 0.1
    feats = DenseFeatures(shared=(torch.randn(2, 8, 4, 5),))
    assert not torch.equal(head(feats), head(feats))
    assert torch.equal(head.eval()(feats), head(feats))
    assert head.dropout.p == 0.5 and type(head.dropout) is nn.Dropout


@pytest.mark.parametrize(
    'head', [ResidualHead(TASK, 64), HRHead(TASK, (40, 40)), ASPPHead(TASK, 40, channels=64)]
)
def test_weights_start_as_pytorch_starts_them(head):
    head.init_weights()
    for m in head.modules():
        if isinstance(m, nn.Conv2d):
            bound = 1 / math.sqrt(m.weight[0].numel())
            assert m.weight.abs().max() <= bound
            assert m.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.2)
            assert m.bias is None or 0 < m.bias.abs().max() <= bound


def test_wrong_widths_are_named():
    with pytest.raises(ValueError, match=r"heads\['depth'\]: in_channels=6.*multiple of 4"):
        ResidualHead(TASK, 6)
    with pytest.raises(ValueError, match='num_blocks=-1'):
        ResidualHead(TASK, 8, num_blocks=-1)
    with pytest.raises(ValueError, match=r'ASPPHead reads one map, in_channels is \(8, 8\)'):
        ASPPHead(TASK, (8, 8), in_index=(0, 1))
