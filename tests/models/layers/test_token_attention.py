"""Attention over a named axis, against torch's module and explicit sums."""

import pytest
import torch
from torch import nn

from mmdense.models.layers import TokenAttention, to_map, to_tokens

C, HEADS = 8, 4


def pair(batch_first=True):
    """The same weights in torch's module and in ours."""
    theirs = nn.MultiheadAttention(C, HEADS, batch_first=batch_first).double()
    ours = TokenAttention(C, HEADS).double()
    nn.init.normal_(theirs.in_proj_bias)
    nn.init.normal_(theirs.out_proj.bias)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def test_over_tokens_is_multi_head_attention_of_each_picture():
    theirs, ours = pair()
    q, k = torch.randn(3, 5, C).double(), torch.randn(3, 7, C).double()
    torch.testing.assert_close(ours.over_tokens(q, k), theirs(q, k, k)[0])


def test_over_first_is_attention_in_the_layout_sequence_batch_channel():
    theirs, ours = pair(batch_first=False)
    q, k = torch.randn(3, 5, C).double(), torch.randn(4, 5, C).double()
    torch.testing.assert_close(ours.over_first(q, k), theirs(q, k, k)[0])


def test_attention_over_one_element_is_an_affine_map_with_dead_queries_and_keys():
    theirs, ours = pair()
    x = torch.randn(6, 1, C).double()
    alone = ours.of_itself(x)
    torch.testing.assert_close(alone, theirs(x, x, x)[0])
    value, bias = ours.in_proj_weight[2 * C :], ours.in_proj_bias[2 * C :]
    expected = (x @ value.T + bias) @ ours.out_proj.weight.T + ours.out_proj.bias
    torch.testing.assert_close(alone, expected)
    alone.square().sum().backward()
    assert not ours.in_proj_weight.grad[: 2 * C].any()
    assert not ours.in_proj_bias.grad[: 2 * C].any()
    assert ours.in_proj_weight.grad[2 * C :].all()


def test_initialisation_is_that_of_torch():
    torch.manual_seed(3)
    weight = nn.MultiheadAttention(64, HEADS).in_proj_weight
    ours = TokenAttention(64, HEADS)
    assert ours.in_proj_weight.abs().max() <= weight.abs().max() * 1.01
    assert torch.isclose(ours.in_proj_weight.std(), weight.std(), rtol=0.05)
    assert not ours.in_proj_bias.any() and not ours.out_proj.bias.any()


def test_heads_must_divide_channels():
    with pytest.raises(ValueError, match='num_heads=3 does not divide channels=8'):
        TokenAttention(8, 3)


def test_tokens_run_row_by_row_and_back():
    x = torch.arange(24.0).view(1, 2, 3, 4)
    tokens = to_tokens(x)
    assert tokens[0, 5].tolist() == x[0, :, 1, 1].tolist()
    assert torch.equal(to_map(tokens, (3, 4)), x)
