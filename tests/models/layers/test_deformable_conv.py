"""Offsets of the deformable 1x1 convolution: where they start and what they depend on."""

import pytest
import torch
from torch import nn

from mmdense.models.layers import DeformableConv1x1, OffsetPredictor


@pytest.mark.parametrize(('mode', 'groups'), [('content', None), ('content', 4), ('direct', 2)])
def test_learned_offsets_start_at_zero_as_a_plain_convolution(mode, groups):
    conv = DeformableConv1x1(8, mode, groups)
    x = torch.randn(2, 8, 9, 7)
    assert not conv.offset(x).any()
    torch.testing.assert_close(conv(x), nn.functional.conv2d(x, conv.conv.weight, conv.conv.bias))


@pytest.mark.parametrize('mode', ['content', 'direct'])
def test_offsets_learn_from_the_first_step(mode):
    conv = DeformableConv1x1(8, mode)
    conv(torch.randn(2, 8, 9, 7)).square().sum().backward()
    last = conv.offset.opt if mode == 'content' else conv.offset.p_conv
    assert last.bias.grad.abs().sum() > 0
    assert conv.offset.p_conv.weight.grad.abs().sum() > 0


def test_content_offsets_hold_rows_of_all_channels_ahead_of_columns():
    offset = OffsetPredictor(6, 6)
    offset.opt.bias.data = torch.arange(12.0)
    values = offset(torch.randn(1, 6, 4, 5))[0, :, 2, 2]
    # The operator reads (dy, dx) pairs: dy of channel c is channel c of the convolution.
    assert values.tolist() == [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]


def test_content_offsets_move_one_channel_by_one_row():
    conv = DeformableConv1x1(4)
    conv.conv.weight.data = torch.eye(4)[:, :, None, None]
    nn.init.zeros_(conv.conv.bias)
    conv.offset.opt.bias.data[0] = 1.0
    conv.offset.opt.bias.data[4 + 2] = -1.0
    x = torch.randn(1, 4, 5, 6)
    expected = x.clone()
    expected[:, 0, :-1], expected[:, 0, -1] = x[:, 0, 1:], 0
    expected[:, 2, :, 1:], expected[:, 2, :, 0] = x[:, 2, :, :-1], 0
    torch.testing.assert_close(conv(x), expected)


def test_absolute_offsets_are_the_released_ones_cell_by_cell():
    torch.manual_seed(1)
    offset = OffsetPredictor(3, 2, 'absolute').double()
    nn.init.normal_(offset.p_conv.weight)
    x = torch.randn(1, 3, 4, 5).double()
    between = offset.p_conv(x)[0]
    for channel in range(18):
        cell = channel % 9
        for i in range(4):
            for j in range(5):
                if channel < 9:
                    between[channel, i, j] += (i + 1) + (cell // 3 - 1)
                else:
                    between[channel, i, j] += (j + 1) + (cell % 3 - 1)
    torch.testing.assert_close(offset(x)[0], offset.opt(between[None])[0])


@torch.no_grad()
def test_absolute_offsets_start_large_and_blind_to_the_picture():
    """The published figures at 107x140 with 256 channels: 28 px, 34-36 % outside the map."""
    h, w, channels = 107, 140, 256
    offset = OffsetPredictor(channels, channels, 'absolute')
    moves = offset(torch.randn(1, channels, h, w))
    assert torch.equal(moves, offset(torch.randn(1, channels, h, w)))
    dy, dx = moves[0, 0::2], moves[0, 1::2]
    inner = (slice(None), slice(1, -1), slice(1, -1))
    half = channels // 2
    for move in (dy, dx):
        rows, columns = move[inner][:half], move[inner][half:]
        # Both displacements of the first half follow from the row, of the others from the column.
        torch.testing.assert_close(rows, rows[:, :, :1].expand_as(rows), atol=1e-3, rtol=0)
        torch.testing.assert_close(columns, columns[:, :1].expand_as(columns), atol=1e-3, rtol=0)
        assert (rows[:, -1] - rows[:, 0]).abs().mean() > 5
        second = rows[:, 2:] - 2 * rows[:, 1:-1] + rows[:, :-2]
        assert second.abs().max() < 1e-2  # linear in the position
    assert 23 < moves.abs().mean() < 33
    y = torch.arange(h)[:, None] + dy
    x = torch.arange(w) + dx
    outside = (y <= -1) | (y >= h) | (x <= -1) | (x >= w)
    assert 0.31 < outside.float().mean() < 0.39


def test_offsets_stay_in_full_precision_under_autocast():
    offset = OffsetPredictor(8, 8, 'absolute')
    x = torch.randn(1, 8, 40, 40)
    with torch.autocast('cpu', torch.bfloat16):
        half = offset(x.bfloat16())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, offset(x.bfloat16().float()))


def test_unknown_options_are_one_clear_error():
    with pytest.raises(ValueError, match="offset_mode is 'relative'; choose one of 'content'"):
        DeformableConv1x1(8, 'relative')
    with pytest.raises(ValueError, match='offset_groups=3 does not divide channels=8'):
        DeformableConv1x1(8, 'content', 3)
