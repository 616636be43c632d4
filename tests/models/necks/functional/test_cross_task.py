"""Cross-task affinity: both forms against loops over tokens, and what they need."""

import argparse
import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from mmdense.apis.core_benchmarks import CORES, CoreSettings
from mmdense.apis.core_benchmarks.base import measure_peak
from mmdense.models.necks.functional import (
    cross_task,
    cross_task_affinity,
    cross_task_affinity_explicit,
    cross_task_affinity_factorised,
    joint_affinity,
)
from mmdense.models.necks.functional.cross_task import choose_implementation
from mmdense.utils import ShapeError

GRID = (3, 4)


def operands(tasks=3, window=3, joints=None, batch=2, grid=GRID, channels=2, shared=False):
    count = 1 if shared else grid[0] * grid[1]
    kernel = torch.randn(joints or tasks, count, tasks, window, window)
    tokens, values = torch.randn(2, batch, tasks, channels, *grid)
    tokens = F.normalize(tokens, dim=2)
    return [x.double() for x in (tokens, values, kernel, torch.randn(kernel.shape[:2]))]


def by_loops(tokens, values, kernel, bias):
    """From the definition, one pair of tokens and one cell of the window at a time."""
    _, tasks, _, height, width = tokens.shape
    window, count = kernel.shape[-1], height * width
    gram = torch.einsum('buci,bucj->buij', tokens.flatten(3), tokens.flatten(3))
    kernel = kernel.expand(-1, count, -1, -1, -1)
    rows = []
    for i in range(count):
        row = []
        for j in range(count):
            y, x = divmod(j, width)
            entry = bias.expand(-1, count)[:, i].expand(len(tokens), -1)  # (B, J)
            for dy in range(-(window // 2), window // 2 + 1):
                for dx in range(-(window // 2), window // 2 + 1):
                    if 0 <= y + dy < height and 0 <= x + dx < width:
                        there = (y + dy) * width + x + dx
                        taps = kernel[:, i, :, dy + window // 2, dx + window // 2]
                        entry = entry + gram[:, :, i, there] @ taps.T
            row.append(entry.expand(-1, tasks))
        rows.append(torch.stack(row, -1))
    joint = torch.stack(rows, -2)  # (B, T, i, j)
    return (values.flatten(3) @ joint.mT).view(values.shape)


def with_gradients(form, inputs, **kwargs):
    leaves = [x.clone().requires_grad_() for x in inputs]
    out = form(*leaves, **kwargs)
    weights = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view(out.shape)
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), leaves)]


def assert_same(found, expected):
    for name, a, b in zip(('out', 'tokens', 'values', 'kernel', 'bias'), found, expected):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12, msg=lambda m, n=name: f'{n}: {m}')


FORMS = [cross_task_affinity_explicit, cross_task_affinity_factorised]


@pytest.mark.parametrize('window', [1, 3, 5])
@pytest.mark.parametrize('tasks', [2, 3, 5])
@pytest.mark.parametrize('joint', ['per_task', 'shared'])
def test_values_and_gradients_are_those_of_loops(tasks, window, joint):
    inputs = operands(tasks, window, 1 if joint == 'shared' else tasks)
    expected = with_gradients(by_loops, inputs)
    for form in FORMS:
        assert_same(with_gradients(form, inputs), expected)


@pytest.mark.parametrize('joints', [1, 2])
def test_one_kernel_for_all_tokens(joints):
    inputs = operands(2, 3, joints, shared=True)
    expected = with_gradients(by_loops, inputs)
    repeated = [*inputs[:2], inputs[2].expand(-1, 12, -1, -1, -1), inputs[3].expand(-1, 12)]
    for form in FORMS:
        assert_same(with_gradients(form, inputs), expected)
        torch.testing.assert_close(form(*repeated), expected[0])


@pytest.mark.parametrize('block', [1, 5, 12, 100])
@pytest.mark.parametrize('joints', [1, 3])
def test_blocks_change_nothing(joints, block, monkeypatch):
    inputs = operands(joints=joints)
    expected = with_gradients(cross_task_affinity_explicit, inputs)
    assert_same(with_gradients(cross_task_affinity_explicit, inputs, block_rows=block), expected)
    row = 3 * 9 * 2 * 8  # T * f^2 * C weighted numbers per token, 8 bytes each
    monkeypatch.setattr(cross_task, '_BLOCK_BYTES', block * row)
    assert_same(with_gradients(cross_task_affinity_factorised, inputs), expected)


@pytest.mark.parametrize('grid', [(1, 7), (7, 1), (1, 1), (2, 9)])
def test_narrow_grids(grid):
    inputs = operands(2, 5, grid=grid)
    expected = with_gradients(by_loops, inputs)
    for form in FORMS:
        assert_same(with_gradients(form, inputs), expected)


def test_numerical_gradients():
    inputs = [x.requires_grad_() for x in operands(2, 3, 2, batch=1, grid=(2, 3))]
    assert torch.autograd.gradcheck(cross_task_affinity_factorised, inputs)


@torch.no_grad()
def test_joint_affinity_is_the_grouped_convolution_of_interleaved_maps():
    tokens, _, kernel, bias = operands(3, 3, 2)
    count = tokens.shape[-2] * tokens.shape[-1]
    flat = tokens.flatten(3)
    maps = (flat.mT @ flat).transpose(1, 2).flatten(1, 2).unflatten(2, GRID)  # channel i * T + u
    for j, affinity in enumerate(joint_affinity(tokens, kernel, bias)):
        expected = F.conv2d(maps, kernel[j], bias[j], padding=1, groups=count)
        torch.testing.assert_close(affinity, expected.flatten(2))


@pytest.mark.parametrize('form', FORMS)
@torch.no_grad()
def test_without_kernels_every_token_gets_the_same_sum(form):
    tokens, values, kernel, bias = operands()
    out = form(tokens, values, torch.zeros_like(kernel), torch.full_like(bias, 0.7))
    expected = 0.7 * values.sum((-2, -1), keepdim=True)
    torch.testing.assert_close(out, expected.expand_as(out))


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('source', [0, 1, 2])
@torch.no_grad()
def test_centre_of_one_source_is_plain_attention_by_its_gram_matrix(form, source):
    tokens, values, kernel, bias = operands()
    kernel = torch.zeros_like(kernel)
    kernel[:, :, source, 1, 1] = 1
    unit = tokens[:, source].flatten(2)
    expected = values.flatten(3) @ (unit.mT @ unit)[:, None]
    out = form(tokens, values, kernel, torch.zeros_like(bias))
    torch.testing.assert_close(out.flatten(3), expected)


@pytest.mark.parametrize('form', FORMS)
@torch.no_grad()
def test_beyond_the_border_is_nothing(form):
    tokens, values, kernel, bias = operands(1, 3, 1)
    kernel = torch.zeros_like(kernel)
    kernel[..., 0, 2] = 1  # the affinity of the pixel above and to the right
    unit = tokens[:, 0]
    shifted = F.pad(unit, (0, 1, 1, 0))[..., :-1, 1:].flatten(2)
    expected = values[:, 0].flatten(2) @ (unit.flatten(2).mT @ shifted).mT
    out = form(tokens, values, kernel, torch.zeros_like(bias))
    torch.testing.assert_close(out[:, 0].flatten(2), expected)


@pytest.mark.parametrize('form', FORMS)
def test_sums_are_float32_under_autocast(form):
    tokens, values, kernel, bias = (x.float() for x in operands(grid=(12, 16), channels=8))
    half = values.bfloat16()
    expected = with_gradients(form, (tokens, half.float(), kernel, bias))
    with torch.autocast('cpu', torch.bfloat16):
        found = with_gradients(form, (tokens, half, kernel, bias))
    assert found[0].dtype == torch.bfloat16 and found[2].dtype == torch.bfloat16
    torch.testing.assert_close(found[0], expected[0].bfloat16(), rtol=1e-2, atol=0.05)
    for a, b in zip(found[3:], expected[3:]):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=1e-2, atol=2e-2 * b.abs().max().item())


class Largest(TorchDispatchMode):
    """Remembers the number of entries of the largest tensor that any operation gives."""

    def __init__(self):
        super().__init__()
        self.entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [x.numel() for x in tree_iter(out) if isinstance(x, torch.Tensor)]
        self.entries = max([self.entries, *sizes])
        return out


def test_no_matrix_of_all_pairs_at_96x128_tokens():
    inputs = [x.float() for x in operands(3, 3, batch=1, grid=(96, 128), channels=4)]
    count = 96 * 128
    with Largest() as largest:
        with_gradients(cross_task_affinity_factorised, inputs)
    # Kernels, T * T * f^2 * N numbers, are the largest here.
    assert largest.entries <= max(inputs[2].numel(), 2**20) < count**2 / 100
    with Largest() as largest:
        with_gradients(cross_task_affinity_explicit, operands(grid=(8, 9)))
    assert largest.entries >= 72**2


def test_peak_memory_at_96x128_tokens():
    options = argparse.Namespace(
        grid=(96, 128), batch=1, tasks=3, channels=16, filter_size=3, joint_affinity='per_task'
    )
    core = CORES['cross_task_affinity']
    peak = measure_peak(core, 'factorised', options, CoreSettings(), train=True)
    assert peak is None or peak < (96 * 128) ** 2 * 4 / 2**20 / 4


def test_the_cheaper_form_is_taken():
    assert choose_implementation(3, 72 * 96, 128, 3) == 'factorised'
    assert choose_implementation(5, 16 * 16, 128, 3) == 'explicit'
    # Near N = T f^2 C, here 2304, the one that needs less memory.
    assert choose_implementation(2, 32 * 64, 128, 3) == 'factorised'
    assert choose_implementation(2, 32 * 32, 128, 3) == 'explicit'
    assert choose_implementation(3, 1000, 128) == 'factorised'


@torch.no_grad()
def test_auto_is_one_of_the_two(monkeypatch):
    small, large = operands(channels=8), operands(grid=(9, 10), channels=1)
    taken = []

    def recorded(name):
        run = getattr(cross_task, f'cross_task_affinity_{name}')

        def form(*args):
            taken.append(name)
            return run(*args)

        return form

    for name in ('explicit', 'factorised'):
        monkeypatch.setattr(cross_task, f'cross_task_affinity_{name}', recorded(name))
    for inputs in (small, large):
        torch.testing.assert_close(
            cross_task_affinity(*inputs), cross_task_affinity(*inputs, impl='explicit')
        )
    assert taken == ['explicit', 'explicit', 'factorised', 'explicit']


def test_what_does_not_fit_is_said():
    tokens, values, kernel, bias = operands()
    with pytest.raises(ShapeError, match=r'tokens are \(2, 3, 2, 3, 4\).*\(2, 2, 2, 3, 4\)'):
        cross_task_affinity(tokens, values[:, :2], kernel, bias)
    with pytest.raises(ShapeError, match=r'kernel is .*12 \(3 x 4 tokens\)'):
        cross_task_affinity(tokens, values, kernel[:, :9], bias)
    with pytest.raises(ShapeError, match='f odd'):
        cross_task_affinity(tokens, values, kernel[..., :2, :2], bias)
    with pytest.raises(ShapeError, match=r'bias is \(2, 12\); expected \(3, 12\)'):
        cross_task_affinity(tokens, values, kernel, bias[:2])
    with pytest.raises(ValueError, match="'factorised'"):
        cross_task_affinity(tokens, values, kernel, bias, impl='fast')


def test_float32_error_is_that_of_rounding():
    inputs = operands(grid=(12, 16), channels=16)
    exact = cross_task_affinity_explicit(*inputs)
    single = cross_task_affinity_factorised(*(x.float() for x in inputs))
    bound = 2e-6 * math.sqrt(12 * 16) * exact.abs().max()
    assert (single - exact).abs().max() < bound
