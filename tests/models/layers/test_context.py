"""The context types of ATRC against their explicit forms."""

import pytest
import torch
from torch import nn

import mmdense.models  # noqa: F401  (fills the registry)
from mmdense.models.layers import (
    GlobalContext,
    LocalContext,
    SourceLabelContext,
    StackedProjection,
    TargetLabelContext,
    global_context,
    label_context,
    pool_by_labels,
    spatial_softmax,
)
from mmdense.models.layers.stacked_projection import xavier_conv1x1


def random_map(channels, size=(5, 7), batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, channels, *size, dtype=torch.float64, generator=generator)
    return x.requires_grad_()


def half_valid():
    valid = torch.ones(2, 1, 5, 7, dtype=torch.bool)
    valid[0, :, 3:] = valid[1, :, :, :2] = False
    return valid


@pytest.mark.parametrize('valid', [None, half_valid()], ids=['all', 'masked'])
def test_global_context_is_explicit_kernel_attention(valid):
    raw = [random_map(4, seed=i) for i in range(3)]
    query, key, value = nn.functional.softplus(raw[0]), nn.functional.softplus(raw[1]), raw[2]
    found = global_context(query, key, value, valid)
    scores = torch.einsum('bdn,bdm->bnm', query.flatten(2), key.flatten(2))
    if valid is not None:
        scores = scores * valid.flatten(2)
    attention = scores / scores.sum(2, keepdim=True)
    expected = torch.einsum('bnm,bdm->bdn', attention, value.flatten(2)).view_as(value)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    grad = torch.randn_like(found)
    for one, two in zip(
        torch.autograd.grad(found, raw, grad, retain_graph=True),
        torch.autograd.grad(expected, raw, grad),
    ):
        torch.testing.assert_close(one, two, atol=1e-10, rtol=0)


def test_label_maps_sum_to_one_over_the_picture():
    logits, valid = random_map(6), half_valid()
    assert torch.allclose(spatial_softmax(logits).sum(2), torch.ones(2, 6).double())
    maps = spatial_softmax(logits, valid)
    assert torch.allclose(maps.sum(2), torch.ones(2, 6).double())
    assert not maps[(~valid.flatten(2)).expand_as(maps)].any()
    # What is left is the softmax of the valid positions alone.
    alone = logits[0, :, :3].flatten(1).softmax(1)
    torch.testing.assert_close(maps[0, :, :21], alone)
    # The logits themselves, which are also trained, keep their values.
    assert logits.isfinite().all()


def test_pooled_vectors_are_weighted_means():
    maps = spatial_softmax(random_map(6))
    features = random_map(3, seed=1)
    expected = torch.einsum('bkn,bcn->bck', maps, features.flatten(2))[..., None]
    torch.testing.assert_close(pool_by_labels(maps, features), expected, atol=1e-12, rtol=0)
    flat = pool_by_labels(spatial_softmax(torch.zeros(2, 1, 5, 7).double()), features)
    torch.testing.assert_close(flat[:, :, 0, 0], features.mean((2, 3)))


def test_label_context_is_softmax_attention_to_the_vectors():
    query, key, value = random_map(4), random_map(4, (6, 1), seed=1), random_map(4, (6, 1), seed=2)
    found = label_context(query, key, value)
    scores = torch.einsum('bdhw,bdk->bhwk', query, key[..., 0]) / 4**0.5
    expected = torch.einsum('bhwk,bdk->bdhw', scores.softmax(-1), value[..., 0])
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ('kind', 'labels'),
    [
        (GlobalContext(), None),
        (LocalContext(3), None),
        (LocalContext(3, border='exclude'), None),
        (SourceLabelContext(), 'source'),
        (TargetLabelContext(), 'target'),
    ],
    ids=str,
)
def test_a_picture_of_padding_only_has_no_context(kind, labels):
    assert kind.labels_of('target', 'source') == labels
    valid = torch.ones(2, 1, 5, 7, dtype=torch.bool)
    valid[1] = False
    size = (5, 7) if labels is None else (6, 1)
    inputs = random_map(4), random_map(4, size, seed=1), random_map(4, size, seed=2)
    found = kind(*(x.detach().abs() for x in inputs), valid)
    assert found[0].any() and not found[1].any()


@pytest.mark.parametrize('training', [True, False])
def test_stacked_projections_are_separate_ones(training):
    """Same numbers from one convolution each as from conv-BN-ReLU-conv-BN per block."""
    torch.manual_seed(0)
    stacked = StackedProjection(6, 4, [True, False, False], values=True).double().train(training)
    norms = [m for m in stacked.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            nn.init.normal_(tensor)
    x = random_map(6)
    found = stacked(x)
    for index, (key, value) in enumerate(found):
        own = slice(4 * index, 4 * index + 4)

        def norm_of(norm, y, own=own):
            mean, var = norm.running_mean[own], norm.running_var[own]
            if training:
                mean, var = y.mean((0, 2, 3)), y.var((0, 2, 3), unbiased=False)
            scale = norm.weight[own] / (var + norm.eps).sqrt()
            shift = norm.bias[own] - mean * scale
            return y * scale[:, None, None] + shift[:, None, None]

        first, second = stacked.first.weight, stacked.second.weight[own]
        values = nn.functional.conv2d(x, first[12:][own])
        torch.testing.assert_close(value, norm_of(stacked.value_norm, values).relu())
        hidden = norm_of(stacked.first_norm, nn.functional.conv2d(x, first[own])).relu()
        out = norm_of(stacked.second_norm, nn.functional.conv2d(hidden, second))
        expected = nn.functional.softplus(out) if index == 0 else out.relu()
        torch.testing.assert_close(key, expected)


@pytest.mark.parametrize('groups', [1, 8])
def test_every_stacked_convolution_is_xavier_uniform_by_itself(groups):
    torch.manual_seed(0)
    inputs, outputs = 64, 32
    conv = xavier_conv1x1(inputs * groups, outputs, 8, groups)
    bound = (6 / (inputs + outputs)) ** 0.5
    assert conv.bias is None and conv.weight.shape == (8 * outputs, inputs, 1, 1)
    for part in conv.weight.chunk(8):
        assert bound * 0.98 < part.abs().max() <= bound
        assert abs(part.std() / (bound / 3**0.5) - 1) < 0.05


def test_values_without_scale_and_shift():
    with_affine = StackedProjection(6, 4, [False], values=True)
    without = StackedProjection(6, 4, [False], values=True, value_affine=False)
    count = [sum(p.numel() for p in m.parameters()) for m in (with_affine, without)]
    assert count[0] - count[1] == 8
