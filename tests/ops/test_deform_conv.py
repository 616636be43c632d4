import doctest
import importlib
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from mmdense.ops import DeformConv2d, deform_conv2d, sampling
from mmdense.ops.backends import missing
from mmdense.utils import ShapeError

from .deform_utils import assert_equal, by_loops, operands, outcome, per_group_form


def needs(backend, device='cpu'):
    marks = [pytest.mark.ops] if backend == 'mmcv' else []
    absent = device == 'cuda' and not torch.cuda.is_available()
    why = 'no CUDA device' if absent else missing(backend, device)
    if device == 'cuda':
        marks.append(pytest.mark.gpu)
    return [*marks, pytest.mark.skipif(bool(why), reason=f'{backend} on {device}: {why}')]


WHERE = [
    pytest.param(backend, device, marks=needs(backend, device), id=f'{backend}-{device}')
    for device in ('cpu', 'cuda')
    for backend in ('torch', 'mmcv', 'torchvision')
]
# Small enough for loops in Python.
CASES = {
    'a displacement per channel': dict(offset_groups=4),
    'one group': dict(offset_groups=1),
    'two groups, grouped contraction': dict(offset_groups=2, groups=2),
    '3x3': dict(kernel=(3, 3), padding=(1, 1), channels=2, out_channels=2, batch=1),
    '3x3, a displacement per channel': dict(
        kernel=(3, 3), padding=(1, 1), channels=2, out_channels=1, batch=1, offset_groups=2
    ),
    'uneven': dict(
        size=(6, 7),
        kernel=(2, 3),
        stride=(2, 1),
        padding=(1, 2),
        dilation=(2, 1),
        channels=2,
        out_channels=1,
        batch=1,
    ),
    'one pixel': dict(size=(1, 1), offset_groups=4),
}
# Compared among each other.
LARGER = {
    f'{k}x{k}, {g} groups, stride {s}, dilation {d}': dict(
        batch=3,
        channels=8,
        out_channels=6,
        size=(9, 11),
        kernel=(k, k),
        stride=(s, s),
        padding=(d * (k // 2), d * (k // 2)),
        dilation=(d, d),
        offset_groups=g,
        groups=2 if g == 4 else 1,
    )
    for k in (1, 3)
    for g in (1, 4, 8)
    for s, d in ((1, 1), (2, 1), (1, 2))
}


@pytest.mark.parametrize('modulated', [False, True], ids=['v1', 'v2'])
@pytest.mark.parametrize('case', CASES, ids=str)
@pytest.mark.parametrize(('backend', 'device'), WHERE)
def test_value_and_gradients_are_those_of_the_definition(backend, device, case, modulated):
    tensors, numbers = operands(**CASES[case], modulated=modulated)
    expected = outcome(by_loops, tensors, **numbers)
    there = {k: v.detach().to(device).requires_grad_() for k, v in tensors.items()}
    found = outcome(deform_conv2d, there, **numbers, backend=backend)
    assert_equal({k: v.cpu() for k, v in found.items()}, expected, 1e-10)
    singles = {k: v.detach().float().requires_grad_() for k, v in there.items()}
    found = outcome(deform_conv2d, singles, **numbers, backend=backend)
    assert_equal({k: v.cpu() for k, v in found.items()}, expected, 1e-5)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64], ids=['float32', 'float64'])
@pytest.mark.parametrize('modulated', [False, True], ids=['v1', 'v2'])
@pytest.mark.parametrize('case', LARGER, ids=str)
@pytest.mark.parametrize(('backend', 'device'), [p for p in WHERE if p.id != 'torch-cpu'])
def test_backends_are_equal(backend, device, case, modulated, dtype):
    tensors, numbers = operands(**LARGER[case], modulated=modulated, dtype=dtype)
    expected = outcome(deform_conv2d, tensors, **numbers, backend='torch')
    there = {k: v.detach().to(device).requires_grad_() for k, v in tensors.items()}
    found = outcome(deform_conv2d, there, **numbers, backend=backend)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-10
    assert_equal({k: v.cpu() for k, v in found.items()}, expected, tolerance)


@pytest.mark.parametrize(('backend', 'device'), WHERE)
def test_without_displacement_it_is_a_convolution(backend, device):
    x, weight = torch.randn(2, 6, 9, 8, device=device), torch.randn(4, 6, 3, 3, device=device) / 7
    offset = torch.zeros(2, 18, 5, 4, device=device)
    found = deform_conv2d(x, offset, weight, stride=2, padding=1, backend=backend)
    torch.testing.assert_close(found, F.conv2d(x, weight, None, 2, 1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(('backend', 'device'), WHERE)
@pytest.mark.parametrize('batch', [0, 1, 7, 33, 37], ids=str)
def test_any_batch_size(backend, device, batch):
    # mmcv's own default asks for a multiple of 32 beyond 32 images.
    x, weight = torch.randn(batch, 2, 3, 4, device=device), torch.randn(2, 2, 1, 1, device=device)
    offset = torch.randn(batch, 4, 3, 4, device=device)
    found = deform_conv2d(x, offset, weight, backend=backend)
    expected = [deform_conv2d(x[i, None], offset[i, None], weight) for i in range(batch)]
    torch.testing.assert_close(found, torch.cat([*expected, x[:0]]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(('backend', 'device'), WHERE)
def test_a_kernel_larger_than_the_map(backend, device):
    tensors, numbers = operands(size=(2, 2), kernel=(3, 3), padding=(1, 1), channels=2)
    there = {k: v.detach().to(device).requires_grad_() for k, v in tensors.items()}
    found = outcome(deform_conv2d, there, **numbers, backend=backend)
    found = {k: v.cpu() for k, v in found.items()}
    assert_equal(found, outcome(by_loops, tensors, **numbers), 1e-10)


@pytest.mark.parametrize(('backend', 'device'), WHERE)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=['bfloat16', 'float16'])
def test_positions_stay_exact_in_half_precision(backend, device, dtype):
    # Half precision cannot say column 500.25; positions have to be put together in float32.
    x = (torch.arange(600.0) % 2).expand(1, 1, 2, 600).to(device, dtype)
    offset = torch.zeros(1, 2, 2, 600, device=device)
    offset[:, 1] = 0.25
    weight = torch.ones(1, 1, 1, 1, device=device, dtype=dtype)
    expected = torch.where(torch.arange(599) % 2 == 0, 0.25, 0.75).expand(2, -1)
    for moves in (offset, offset.to(dtype)):  # 0.25 itself is exact in any
        found = deform_conv2d(x, moves, weight, backend=backend)
        assert found.dtype == dtype
        inside = found[0, 0, :, :-1].float().cpu()
        torch.testing.assert_close(inside, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(('backend', 'device'), WHERE)
def test_autocast_keeps_the_positions_and_casts_the_rest(backend, device):
    layer = DeformConv2d(8, 4, 1, backend=backend).to(device)
    x = torch.randn(1, 8, 5, 300, device=device, requires_grad=True)
    offset = (3 * torch.randn(1, 16, 5, 300, device=device)).requires_grad_()
    expected = layer(x, offset)
    with torch.autocast(device, torch.bfloat16):
        found = layer(x, offset)
        half = layer(x.bfloat16(), offset)
    assert found.dtype == half.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.03, rtol=0.02)
    torch.testing.assert_close(half.float(), expected, atol=0.05, rtol=0.02)
    found.float().square().sum().backward()
    assert offset.grad.dtype == x.grad.dtype == layer.weight.grad.dtype == torch.float32
    assert offset.grad.abs().max() > 0


@pytest.mark.parametrize('modulated', [False, True], ids=['v1', 'v2'])
@pytest.mark.parametrize('case', ['a displacement per channel', '3x3', 'uneven'])
def test_gradcheck_of_the_torch_form(case, modulated):
    tensors, numbers = operands(**CASES[case], modulated=modulated, border=False)
    # Away from whole pixels, where the slope jumps.
    offset = tensors['offset'].detach()
    whole = (offset - offset.round()).abs() < 0.02
    tensors['offset'] = torch.where(whole, offset + 0.1, offset).requires_grad_()

    def function(*values):
        return deform_conv2d(**dict(zip(tensors, values)), **numbers, backend='torch')

    assert torch.autograd.gradcheck(function, tuple(tensors.values()))


@pytest.mark.parametrize('offset_groups', [1, 4, 8])
@pytest.mark.parametrize('kernel', [1, 3])
def test_all_groups_at_once_equal_one_by_one(kernel, offset_groups):
    tensors, numbers = operands(
        channels=8,
        size=(7, 6),
        kernel=(kernel, kernel),
        padding=(kernel // 2,) * 2,
        offset_groups=offset_groups,
        border=False,
    )
    numbers.pop('groups')
    found = outcome(deform_conv2d, tensors, **numbers, backend='torch')
    assert_equal(found, outcome(per_group_form, tensors, **numbers), 1e-10)


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 3000), data=st.data())
def test_slope_on_whole_pixels_is_the_one_to_the_right(size, data):
    # At any size, in float32: rounding must not fall to the other side of the kink.
    step = data.draw(st.integers(-2, 2))
    x = torch.arange(1.0, size + 1).square()[None, None, None]
    offset = torch.zeros(1, 2, 1, size)
    offset[:, 1] = step
    offset.requires_grad_()
    weight = torch.ones(1, 1, 1, 1)
    deform_conv2d(x, offset, weight, backend='torch').sum().backward()
    padded = F.pad(x[0, 0, 0], (3, 4))
    slopes = padded.diff()[step + 3 : step + 3 + size]
    at = torch.arange(size) + step
    expected = torch.where((at > -1) & (at < size), slopes, 0)
    torch.testing.assert_close(offset.grad[0, 1, 0], expected, rtol=2e-3, atol=1e-3)


def test_second_derivatives_are_refused():
    tensors, numbers = operands(offset_groups=4)
    out = deform_conv2d(**tensors, **numbers, backend='torch')
    (slope,) = torch.autograd.grad(out.sum(), tensors['offset'], create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        slope.sum().backward()


def test_gradients_only_where_they_are_asked_for():
    tensors, numbers = operands(offset_groups=4)
    every = outcome(deform_conv2d, tensors, **numbers, backend='torch')
    for name in tensors:
        alone = {k: v.detach().requires_grad_(k == name) for k, v in tensors.items()}
        out = deform_conv2d(**alone, **numbers, backend='torch')
        factors = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
        (out * factors).sum().backward()
        torch.testing.assert_close(alone[name].grad, every[f'grad of {name}'])
        assert all(v.grad is None for k, v in alone.items() if k != name)


def test_the_backward_pass_keeps_only_map_and_offsets():
    # A grid kept beside them would double the memory of a mixer.
    x = torch.randn(1, 8, 6, 7, requires_grad=True)
    offset = torch.randn(1, 16, 6, 7, requires_grad=True)
    weight = torch.randn(4, 8, 1, 1, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        deform_conv2d(x, offset, weight, backend='torch')
    bytes_kept = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept}
    samples = x.numel() * 4
    inputs = sum(t.numel() * 4 for t in (x, offset, weight))
    assert sum(bytes_kept.values()) <= inputs + samples


@pytest.mark.parametrize('places', [1, 7, 50, 10**6])
def test_pieces_of_any_size_give_the_same(places, monkeypatch):
    monkeypatch.setattr(sampling, 'CPU_PIECE', places)
    for offset_groups in (1, 4):
        tensors, numbers = operands(
            offset_groups=offset_groups, kernel=(3, 1), padding=(1, 0), groups=2, modulated=True
        )
        expected = outcome(by_loops, tensors, **numbers)
        assert_equal(outcome(deform_conv2d, tensors, **numbers), expected, 1e-10)


@pytest.mark.parametrize('layout', [torch.channels_last, torch.contiguous_format], ids=str)
def test_memory_layout_does_not_matter(layout):
    tensors, numbers = operands(offset_groups=2, modulated=True)
    moved = {
        k: (v.detach().to(memory_format=layout) if v.dim() == 4 else v.detach()).requires_grad_()
        for k, v in tensors.items()
    }
    expected = outcome(deform_conv2d, tensors, **numbers, backend='torch')
    assert_equal(outcome(deform_conv2d, moved, **numbers, backend='torch'), expected, 1e-12)


def test_meta_tensors_give_the_shape():
    x = torch.empty(2, 8, 425, 560, device='meta')
    layer = DeformConv2d(8, 5, 3, stride=2, padding=1).to('meta')
    out = layer(x, torch.empty(2, 18 * 4, 213, 280, device='meta'))
    assert out.shape == (2, 5, 213, 280)
    assert out.device.type == 'meta'


def test_compiles_without_graph_breaks_and_with_equal_gradients():
    tensors, numbers = operands(offset_groups=2, modulated=True)
    compiled = torch.compile(deform_conv2d, backend='aot_eager', fullgraph=True)
    assert_equal(
        outcome(compiled, tensors, **numbers), outcome(deform_conv2d, tensors, **numbers), 1e-10
    )


@pytest.mark.parametrize('strict', [False, True], ids=['non-strict', 'strict'])
def test_exports_with_free_batch_and_size(strict):
    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.offset = torch.nn.Conv2d(4, 8, 1)
            self.conv = DeformConv2d(4, 3, 1)

        def forward(self, x):
            return self.conv(x, self.offset(x))

    layer, x = Layer().eval(), torch.randn(2, 4, 7, 9)
    sizes = {0: torch.export.Dim('b'), 2: torch.export.Dim('h'), 3: torch.export.Dim('w')}
    program = torch.export.export(layer, (x,), dynamic_shapes={'x': sizes}, strict=strict)
    for example in (x, torch.randn(3, 4, 6, 11)):
        torch.testing.assert_close(program.module()(example), layer(example))


def test_layer_has_the_parameters_of_a_convolution():
    torch.manual_seed(3)
    layer = DeformConv2d(6, 4, (1, 3), padding=(0, 1), groups=2)
    torch.manual_seed(3)
    plain = torch.nn.Conv2d(6, 4, (1, 3), padding=(0, 1), groups=2)
    plain.load_state_dict(layer.state_dict())
    assert layer.weight.abs().max() <= 1 / 9**0.5
    x = torch.randn(1, 6, 4, 5)
    found = layer(x, torch.zeros(1, 6, 4, 5), torch.ones(1, 3, 4, 5))
    torch.testing.assert_close(found, plain(x), atol=1e-5, rtol=1e-5)


GOOD = dict(x=(2, 4, 5, 6), offset=(2, 8, 5, 6), weight=(3, 4, 1, 1))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(x=(4, 5, 6)), r'x is \(4, 5, 6\); expected four dimensions'),
        (dict(weight=(3, 4)), r'weight is \(3, 4\); expected four dimensions'),
        (dict(weight=(3, 2, 1, 1)), r'weight is \(3, 2, 1, 1\); expected \(D, 4, kh, kw\)'),
        (dict(weight=(3, 4, 0, 1)), r'expected a kernel of at least one cell'),
        (dict(weight=(3, 4, 7, 7), offset=(2, 98, 1, 1)), r'x is \(2, 4, 5, 6\).*fits into'),
        (dict(offset=(2, 6, 5, 6)), r'offset is \(2, 6, 5, 6\).*G a divisor of 4: \(dy, dx\)'),
        (dict(offset=(2, 9, 5, 6)), r'offset is \(2, 9, 5, 6\); expected 2 \* G \* 1 channels'),
        (dict(offset=(2, 8, 5, 5)), r'offset is \(2, 8, 5, 5\); expected \(2, 8, 5, 6\)'),
        (dict(offset=(1, 8, 5, 6)), r'offset is \(1, 8, 5, 6\); expected \(2, 8, 5, 6\)'),
        (dict(mask=(2, 8, 5, 6)), r'mask is \(2, 8, 5, 6\); expected \(2, 4, 5, 6\)'),
        (dict(bias=(4,)), r'bias is \(4,\); expected \(3,\)'),
    ],
)
def test_wrong_shapes_are_named(change, message):
    tensors = {name: torch.zeros(shape) for name, shape in (GOOD | change).items()}
    with pytest.raises(ShapeError, match=message):
        deform_conv2d(**tensors)


@pytest.mark.parametrize(
    ('numbers', 'message'),
    [
        (dict(stride=0), 'stride is 0; expected one whole number'),
        (dict(padding=(1, 2, 3)), r'padding is \(1, 2, 3\)'),
        (dict(dilation=1.5), r'dilation is 1.5'),
        (dict(groups=3), 'groups is 3; expected a divisor of the 4 input and the 3 output'),
        (dict(backend='mmvc'), "unknown backend 'mmvc'.*Did you mean 'mmcv'"),
    ],
)
def test_wrong_numbers_are_named(numbers, message):
    tensors = {name: torch.zeros(shape) for name, shape in GOOD.items()}
    with pytest.raises(ValueError, match=message):
        deform_conv2d(**tensors, **numbers)


def test_wrong_dtypes_and_devices_are_named():
    tensors = {name: torch.zeros(shape) for name, shape in GOOD.items()}
    with pytest.raises(ValueError, match=r'weight is torch.bfloat16, x is torch.float32'):
        deform_conv2d(**tensors | {'weight': tensors['weight'].bfloat16()})
    with pytest.raises(ValueError, match=r'x is torch.int64'):
        deform_conv2d(**{name: tensor.long() for name, tensor in tensors.items()})
    with pytest.raises(ValueError, match=r'offset is torch.int64'):
        deform_conv2d(**tensors | {'offset': tensors['offset'].long()})
    with pytest.raises(ValueError, match=r'offset is on meta, x on cpu; expected one device'):
        deform_conv2d(**tensors | {'offset': tensors['offset'].to('meta')})


def test_layer_names_wrong_numbers_when_it_is_built():
    for wrong, message in (
        (dict(groups=3), 'groups is 3'),
        (dict(kernel_size=0), 'kernel_size is 0'),
        (dict(backend='cudnn'), "unknown backend 'cudnn'"),
    ):
        with pytest.raises(ValueError, match=message):
            DeformConv2d(**(dict(in_channels=4, out_channels=4, kernel_size=1) | wrong))


def test_importing_the_room_imports_no_compiled_operator():
    code = (
        'import sys, mmdense.ops; '
        "sys.exit(any(name in sys.modules for name in ('mmcv.ops', 'torchvision', 'mmcv._ext')))"
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0


def test_the_example_runs():
    module = importlib.import_module('mmdense.ops.deform_conv')
    results = doctest.testmod(module)
    assert results.attempted and not results.failed
