"""Window attention of Swin V2 against the attention of all tokens, pair by pair."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmdense.models.layers import CosineWindowAttention, from_windows, shifted_apart, to_windows
from mmdense.models.layers.cosine_window_attention import (
    log_spaced_offsets,
    offset_index,
    unit_vectors,
)

SIDE = 4
SIZES = [(4, 4), (4, 12), (8, 12)]


def make(channels=12, heads=3, side=SIDE, **kwargs):
    layer = CosineWindowAttention(channels, heads, side, hidden_channels=16, **kwargs).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    # One head at the limit of the scale, one beyond, one below.
    layer.logit_scale.data = torch.tensor([math.log(100), 6.0, 1.0]).double()[:heads, None, None]
    return layer


def pair_bias(layer, head, rows, columns, trained):
    """Position bias of one pair, from the formula."""
    spaced = [
        math.copysign(math.log2(1 + abs(8 * d / (trained - 1))) / 3, d) for d in (rows, columns)
    ]
    score = layer.cpb_mlp(torch.tensor(spaced, dtype=torch.float64))[head]
    return 16 * torch.sigmoid(score)


def brute_force(layer, x, shift, trained=SIDE):
    """Attention of every token of a map ``(H, W, C)`` over those of its window, one by one."""
    height, width, channels = x.shape
    side = layer.window_size
    heads, depth = layer.num_heads, channels // layer.num_heads
    bias = layer.qkv.bias.clone()
    bias[channels : 2 * channels] = 0
    q, k, v = F.linear(x, layer.qkv.weight, bias).reshape(height, width, 3, heads, depth).unbind(2)

    def window(row, column):
        # Windows of a map shifted by s begin at s; what is cut off at the border is a window.
        return (row - shift[0]) // side, (column - shift[1]) // side

    cells = [(r, c) for r in range(height) for c in range(width)]
    out = torch.zeros(height, width, heads, depth, dtype=x.dtype)
    for i in cells:
        seen = [j for j in cells if window(*i) == window(*j)]
        for h in range(heads):
            scale = min(layer.logit_scale[h].exp().item(), 100)
            scores = torch.stack(
                [
                    scale * F.cosine_similarity(q[i][h], k[j][h], dim=0)
                    + pair_bias(layer, h, i[0] - j[0], i[1] - j[1], trained)
                    for j in seen
                ]
            )
            weights = scores.softmax(0)
            out[i][h] = sum(w * v[j][h] for w, j in zip(weights, seen))
    return layer.proj(out.flatten(2))


@torch.no_grad()
@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('shifted', [False, True])
def test_windows_attend_as_pair_by_pair(size, shifted):
    layer = make()
    x = torch.randn(2, *size, 12).double()
    shift = tuple(SIDE // 2 if shifted and n > SIDE else 0 for n in size)
    rolled = x.roll((-shift[0], -shift[1]), (1, 2))
    exclusion = None
    if shifted:
        apart = shifted_apart(size, SIDE, shift, x.device)
        exclusion = torch.zeros(apart.shape).double().masked_fill(apart, -math.inf)
    out = from_windows(layer(to_windows(rolled, SIDE), exclusion), size, SIDE).roll(shift, (1, 2))
    expected = brute_force(layer, x[1], shift)
    # The offsets of the layer are float32 numbers.
    torch.testing.assert_close(out[1], expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_offsets_are_measured_by_the_windows_of_the_training():
    layer = make(pretrained_window_size=2)
    x = torch.randn(1, SIDE, SIDE, 12).double()
    out = from_windows(layer(to_windows(x, SIDE)), (SIDE, SIDE), SIDE)
    expected = brute_force(layer, x[0], (0, 0), trained=2)
    torch.testing.assert_close(out[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('side', [1, 2, 8])
def test_offsets_and_their_index(side):
    table = log_spaced_offsets(side)
    assert table.shape == ((2 * side - 1) ** 2, 2)
    if side > 1:
        # The largest offset is 8, whose logarithm log2(9) is measured by log2(8).
        assert table.abs().max().item() == pytest.approx(math.log2(9) / 3)
    index = offset_index(side)
    for i in range(side**2):
        for j in range(side**2):
            rows, columns = i // side - j // side, i % side - j % side
            assert index[i, j] == (rows + side - 1) * (2 * side - 1) + columns + side - 1
    assert not table[index.diagonal()].any()
    reach = max(side - 1, 1)
    line = [math.copysign(math.log2(1 + 8 * abs(d) / reach) / 3, d) for d in range(1 - side, side)]
    expected = torch.tensor([[r, c] for r in line for c in line])
    torch.testing.assert_close(table, expected)


def test_windows_and_back():
    x = torch.arange(2 * 6 * 9 * 5).reshape(2, 6, 9, 5)
    windows = to_windows(x, 3)
    assert windows.shape == (2, 6, 9, 5)
    for m in range(6):
        r, c = 3 * (m // 3), 3 * (m % 3)
        assert torch.equal(windows[:, m], x[:, r : r + 3, c : c + 3].flatten(1, 2))
    assert torch.equal(from_windows(windows, (6, 9), 3), x)


def test_tokens_without_rolled_neighbours_are_together():
    apart = shifted_apart((8, 12), 4, (2, 0), torch.device('cpu'))
    assert not apart[:3].any()
    # Rows 2 and 3 of the last windows come from the top of the picture.
    upper = torch.arange(16) < 8
    assert all(torch.equal(a, upper[:, None] != upper[None]) for a in apart[3:])


def test_scores_do_not_depend_on_the_length_of_queries_and_keys():
    layer = make().eval()
    x = torch.randn(1, 2, SIDE**2, 12).double()
    before = layer(x)
    layer.qkv.bias.data[:24] = 0
    first = layer(x)
    layer.qkv.weight.data[:24] *= 7.0
    torch.testing.assert_close(layer(x), first)
    assert not torch.allclose(before, first)


def test_keys_have_no_bias():
    layer = make()
    x = torch.randn(1, 2, SIDE**2, 12).double()
    before = layer(x)
    layer.qkv.bias.data[12:24] += 3
    torch.testing.assert_close(layer(x), before)
    layer(x).square().sum().backward()
    assert not layer.qkv.bias.grad[12:24].any() and layer.qkv.bias.grad[:12].any()


def test_unit_vectors_and_their_gradient_at_zero():
    x = torch.randn(5, 3)
    torch.testing.assert_close(unit_vectors(x), F.normalize(x, dim=-1))
    x = torch.cat([x, torch.zeros(1, 3)]).requires_grad_()
    unit_vectors(x).sum().backward()
    assert x.grad.isfinite().all() and not x.grad[-1].any() and x.grad[0].any()


@pytest.mark.parametrize('excluded', [False, True])
def test_gradients(excluded):
    layer = make(channels=4, heads=2, side=2)
    # Off the clamp, whose gradient is none.
    layer.logit_scale.data.fill_(1.0)
    x = torch.randn(2, 2, 4, 4).double().requires_grad_()
    exclusion = None
    if excluded:
        exclusion = torch.zeros(2, 4, 4).double()
        exclusion[1, :2, 2:] = exclusion[1, 2:, :2] = -math.inf
    weights = [p for _, p in layer.named_parameters()]
    names = [name for name, _ in layer.named_parameters()]

    def run(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values)), (x, exclusion))

    assert torch.autograd.gradcheck(run, (x, *weights))


def test_half_precision_is_close():
    layer = make().float()
    x = torch.randn(2, 2, SIDE**2, 12)
    exact = layer(x)
    with torch.autocast('cpu', torch.bfloat16):
        rounded = layer(x)
    assert rounded.dtype == torch.bfloat16
    assert (exact - rounded).norm() < 0.1 * exact.norm()


def test_heads_must_divide():
    with pytest.raises(ValueError, match='num_heads=5 does not divide channels=12'):
        CosineWindowAttention(12, 5, SIDE)
