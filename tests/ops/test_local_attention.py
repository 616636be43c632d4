"""Local attention against its unfolded form and closed forms."""

import sys

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from mmdense.apis.complexity import _FUSED
from mmdense.ops import local_attention
from mmdense.utils import ShapeError


def unfolded(query, key, value, window):
    """All windows at once; positions outside the map are zeros and stay in the softmax."""
    batch, depth, height, width = query.shape
    keys, values = (
        F.unfold(x, window, padding=window // 2).view(batch, -1, window**2, height, width)
        for x in (key, value)
    )
    scores = torch.einsum('bdhw,bdohw->bohw', query, keys) / depth**0.5
    return torch.einsum('bohw,bdohw->bdhw', scores.softmax(1), values)


def pretend(monkeypatch, seen_by):
    """Let a compiler or an exporter seem to look on."""
    monkeypatch.setattr(torch.compiler, 'is_compiling', lambda: seen_by != 'nobody')
    # The package has a function of the module's name.
    module = sys.modules['mmdense.ops.local_attention']
    monkeypatch.setattr(module, 'exporting', lambda: seen_by == 'exporter')


def maps(size=(7, 11), batch=2, depth=5, values=4, dtype=torch.float64):
    torch.manual_seed(0)
    widths = (depth, depth, values)
    return [torch.randn(batch, c, *size, dtype=dtype, requires_grad=True) for c in widths]


@pytest.mark.parametrize('seen_by', ['nobody', 'compiler', 'exporter'])
@pytest.mark.parametrize(('window', 'size'), [(1, (3, 4)), (5, (7, 11)), (9, (4, 13))])
def test_equals_the_unfolded_form(window, size, seen_by, monkeypatch):
    """Also where the window is larger than the map, and in the forms of compiler and exporter."""
    pretend(monkeypatch, seen_by)
    inputs = maps(size)
    found, expected = local_attention(*inputs, window=window), unfolded(*inputs, window)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    grad = torch.randn_like(found)
    pairs = zip(
        torch.autograd.grad(found, inputs, grad), torch.autograd.grad(expected, inputs, grad)
    )
    for one, two in pairs:
        torch.testing.assert_close(one, two, atol=1e-10, rtol=0)


@pytest.mark.parametrize('shared', [False, True], ids=['a mask each', 'one mask'])
@pytest.mark.parametrize('border', ['zero', 'exclude'])
def test_exported_form_heeds_masks(border, shared, monkeypatch):
    inputs = [x.detach() for x in maps((4, 5))]
    valid = torch.rand(2, 1, 4, 5, generator=torch.Generator().manual_seed(1)) < 0.5
    if shared:
        valid = valid[:1]
    expected = local_attention(*inputs, 3, valid=valid.expand(2, -1, -1, -1), border=border)
    pretend(monkeypatch, 'exporter')
    found = local_attention(*inputs, 3, valid=valid, border=border)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize('border', ['zero', 'exclude'])
def test_gradients_with_a_mask(border):
    valid = torch.rand(2, 1, 4, 5, generator=torch.Generator().manual_seed(1)) < 0.5
    inputs = maps((4, 5))

    def run(*tensors):
        return local_attention(*tensors, window=3, valid=valid, border=border)

    assert torch.autograd.gradcheck(run, inputs)


@pytest.mark.parametrize(('border', 'counted'), [('zero', True), ('exclude', False)])
def test_without_queries_it_is_the_mean_of_the_window(border, counted):
    """Whether what lies outside the map is in the denominator is the difference of the borders."""
    _, key, value = maps()
    found = local_attention(torch.zeros_like(key), key, value, 5, border=border)
    expected = F.avg_pool2d(value, 5, 1, 2, count_include_pad=counted)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('border', ['zero', 'exclude'])
def test_a_mask_is_like_the_end_of_the_map(border):
    query, key, value = maps((6, 9))
    valid = torch.zeros(2, 1, 6, 9, dtype=torch.bool)
    valid[..., :4, :5] = True
    found = local_attention(query, key, value, 5, valid=valid, border=border)[..., :4, :5]
    cut = (x[..., :4, :5] for x in (query, key, value))
    torch.testing.assert_close(found, local_attention(*cut, 5, border=border))


@pytest.mark.parametrize('border', ['zero', 'exclude'])
def test_nothing_to_look_at_gives_zero(border):
    none = torch.zeros(2, 1, 7, 11, dtype=torch.bool)
    found = local_attention(*maps(), 3, valid=none, border=border)
    assert not found.any()


def test_half_precision_is_summed_in_float32():
    wide = maps(dtype=torch.float32)
    half = [x.detach().bfloat16() for x in wide]
    found = local_attention(*half, 5)
    assert found.dtype == torch.bfloat16
    expected = unfolded(*(x.float() for x in half), 5)
    torch.testing.assert_close(found.float(), expected, atol=1e-2, rtol=1e-2)


def test_the_windows_are_not_kept():
    """For the backward pass: inputs, and one weight per offset; unfolded, D + E times as much."""
    inputs = maps((16, 16), batch=1, depth=24, values=24)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, id):
        local_attention(*inputs, window=9)
    assert max(kept) == 81 * 256
    assert sum(kept) < 2 * 81 * 256


def test_operator_passes_the_checks_of_torch():
    q, k, v = (x.detach() for x in maps((4, 5)))
    torch.library.opcheck(
        torch.ops.mmdense.local_attention,
        (q, k, v, None, 3, 0.5),
        test_utils=('test_schema', 'test_faketensor'),
    )


def test_operations_are_counted_by_the_tool():
    with FlopCounterMode(display=False, custom_mapping=_FUSED) as counter:
        local_attention(*maps(), 3)
    assert counter.get_total_flops() == 2 * (2 * 7 * 11) * 9 * (5 + 4)


def test_wrong_use_is_named():
    query, key, value = maps()
    with pytest.raises(ValueError, match='window is 4; it must be odd'):
        local_attention(query, key, value, 4)
    with pytest.raises(ValueError, match="border is 'wrap'"):
        local_attention(query, key, value, 3, border='wrap')
    with pytest.raises(ShapeError, match=r'value \(2, 4, 7, 10\)'):
        local_attention(query, key, value[..., :10], 3)
