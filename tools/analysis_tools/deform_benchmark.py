"""Time and memory of deformable convolution, form by form.

The case of DeMT at 425 x 560, a displacement per channel and a 1x1 kernel, one thread::

    python tools/analysis_tools/deform_benchmark.py
    python tools/analysis_tools/deform_benchmark.py --kernel 3 --offset-groups 4 --channels 64
    python tools/analysis_tools/deform_benchmark.py --device cuda --batch 8

``torch`` is the form of the library; ``per group`` samples every offset group and kernel cell
by a grid of its own, then contracts once; ``summed`` convolves every offset group and sums;
``gather`` reads the four neighbours by index; compiled operators are listed where they load.

Milliseconds, of the processor on the CPU and of the clock elsewhere: the least of the repeats.
Memory is the rise of the peak over one step, on the CPU of a process of its own.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from terminaltables import AsciiTable
from torch import Tensor
from torch.nn import functional as F

from mmdense.apis.benchmark import memory_status
from mmdense.engine.launch import guard
from mmdense.ops import deform_conv2d
from mmdense.ops.backends import missing
from mmdense.ops.sampling import Window, cell_positions
from mmdense.utils.command_line import ToolParser

Form = Callable[[Tensor, Tensor, Tensor], Tensor]
MIB = 2**20


class Operands(NamedTuple):
    """Map, offsets, weight, and the gradient that comes in at the output."""

    x: Tensor
    offset: Tensor
    weight: Tensor
    of_out: Tensor


def per_group(x: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
    """A grid and a sampling per offset group and kernel cell, then the contraction."""
    kernel = weight.shape[2]
    height, width = x.shape[2:]
    rows, columns = cell_positions(_window(kernel), (height, width), x)
    groups = offset.shape[1] // (2 * kernel**2)
    samples = []
    for plane, moves in zip(x.chunk(groups, 1), offset.chunk(groups, 1), strict=True):
        cells = []
        for k in range(kernel**2):
            y = 2 * (rows[k] + moves[:, 2 * k]) / (height - 1) - 1
            z = 2 * (columns[k] + moves[:, 2 * k + 1]) / (width - 1) - 1
            cells.append(F.grid_sample(plane, torch.stack((z, y), -1), align_corners=True))
        samples.append(torch.stack(cells, 2))
    return _contract(torch.cat(samples, 1), weight)


def group_by_group(x: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
    """The whole convolution for one offset group after the other, summed up.

    What remains where an operator serves a single offset group.
    """
    cells = weight.shape[2] ** 2
    groups = offset.shape[1] // (2 * cells)
    parts = (t.chunk(groups, 1) for t in (x, offset, weight))
    out = None
    for plane, moves, some in zip(*parts, strict=True):
        part = per_group(plane, moves, some)
        out = part if out is None else out + part
    return out


def gather(x: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
    """The four neighbours by index from a map with a border of zeros, then their mean."""
    kernel = weight.shape[2]
    height, width = x.shape[2:]
    rows, columns = cell_positions(_window(kernel), (height, width), x)
    groups = offset.shape[1] // (2 * kernel**2)
    moves = offset.unflatten(1, (groups, kernel**2, 2))
    y = (moves[:, :, :, 0] + rows).clamp(-1, height)
    z = (moves[:, :, :, 1] + columns).clamp(-1, width)
    top, left = y.floor(), z.floor()
    down, right = (y - top).flatten(2), (z - left).flatten(2)
    stride = width + 3
    index = ((top + 1) * stride + left + 1).long().flatten(2)
    share = x.shape[1] // groups
    index, down, right = (t.repeat_interleave(share, 1) for t in (index, down, right))
    plane = F.pad(x, (1, 2, 1, 2)).flatten(2)
    a, b, c, d = (plane[:, :, n:].gather(2, index) for n in (0, 1, stride, stride + 1))
    samples = torch.lerp(torch.lerp(a, b, right), torch.lerp(c, d, right), down)
    return _contract(samples.unflatten(2, (kernel**2, height, width)), weight)


def _contract(samples: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(samples.flatten(1, 2), weight.flatten(1)[..., None, None])


def _window(kernel: int) -> Window:
    return Window((kernel, kernel), (1, 1), (kernel // 2, kernel // 2), (1, 1))


def forms(device: str) -> dict[str, Form]:
    """What can run here."""
    found: dict[str, Form] = {
        'torch': _backend('torch'),
        'per group': per_group,
        'summed': group_by_group,
        'gather': gather,
    }
    for name in ('mmcv', 'torchvision'):
        why = missing(name, torch.device(device).type)
        if why is None:
            found[name] = _backend(name)
        else:
            print(f'{name}: {why}')
    return found


def _backend(name: str) -> Form:
    def form(x: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
        return deform_conv2d(x, offset, weight, padding=weight.shape[2] // 2, backend=name)

    return form


def operands(args: argparse.Namespace) -> Operands:
    """Random ones; all but the last ask for gradients."""
    made = torch.Generator().manual_seed(0)
    cells, (height, width) = args.kernel**2, args.size
    moves = 2 * args.offset_groups * cells
    shapes = (
        (args.batch, args.channels, height, width),
        (args.batch, moves, height, width),
        (args.channels, args.channels, args.kernel, args.kernel),
    )
    scales = (1.0, args.offset, (args.channels * cells) ** -0.5)
    x, offset, weight = (
        (torch.randn(shape, generator=made) * scale).to(args.device).requires_grad_()
        for shape, scale in zip(shapes, scales, strict=True)
    )
    of_out = torch.randn(shapes[0], generator=made).to(args.device)
    return Operands(x, offset, weight, of_out)


def step(form: Form, inputs: Operands) -> list[Tensor]:
    """Output and gradients of a forward and backward pass."""
    out = form(*inputs[:3])
    return [out.detach(), *torch.autograd.grad(out, inputs[:3], inputs.of_out)]


def least(function: Callable[[], object], device: str, repeats: int) -> float:
    """Milliseconds of the fastest of several calls."""
    cuda = torch.device(device).type == 'cuda'
    clock = time.perf_counter if cuda else time.process_time
    spent = []
    for _ in range(repeats):
        if cuda:
            torch.cuda.synchronize()
        start = clock()
        function()
        if cuda:
            torch.cuda.synchronize()
        spent.append(clock() - start)
    return 1000 * min(spent)


def peak(name: str, args: argparse.Namespace, train: bool) -> float:
    """Rise of the peak memory in MiB over one forward, or forward and backward, pass."""
    if torch.device(args.device).type == 'cuda':
        inputs = operands(args)
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        _pass(forms(args.device)[name], inputs, train)
        return (torch.cuda.max_memory_allocated() - before) / MIB
    # Memory that an allocator keeps would hide later peaks: a process of its own for each.
    numbers = ('batch', 'channels', 'kernel', 'offset_groups', 'offset')
    command = [sys.executable, __file__, '--size', *map(str, args.size), '--peak-of', name]
    for number in numbers:
        command += [f'--{number.replace("_", "-")}', str(getattr(args, number))]
    command += ['--train'] if train else []
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(printed.split()[-1])


def _pass(form: Form, inputs: Operands, train: bool) -> None:
    if train:
        step(form, inputs)
    else:
        with torch.no_grad():
            form(*inputs[:3])


def own_peak(args: argparse.Namespace) -> None:
    """Measure one form in this process and print it."""
    form, small = forms('cpu')[args.peak_of], argparse.Namespace(**vars(args))
    small.size, small.batch = (4, 4), 1
    _pass(form, operands(small), args.train)  # libraries and thread pools
    inputs = operands(args)
    before = memory_status('VmRSS')
    _pass(form, inputs, args.train)
    after = memory_status('VmHWM')
    print('nan' if before is None or after is None else (after - before) / MIB)


def run(args: argparse.Namespace) -> None:
    """Measure and print the table."""
    torch.set_num_threads(1)
    if args.peak_of:
        own_peak(args)
        return
    inputs, available = operands(args), forms(args.device)
    rows, times, expected = [], {}, step(available['torch'], inputs)
    for name, form in available.items():
        found = step(form, inputs)  # also warms up
        errors = [((a - b).abs().max() / b.abs().max()).item() for a, b in zip(found, expected)]
        with torch.no_grad():
            forward = least(lambda form=form: form(*inputs[:3]), args.device, args.repeats)
        both = least(lambda form=form: step(form, inputs), args.device, args.repeats)
        times[name] = (forward, both)
        memory = ['-', '-']
        if not args.no_memory:
            memory = [f'{peak(name, args, train):.0f}' for train in (False, True)]
        ratios = [f'{mine / base:.2f}' for mine, base in zip(times[name], times['torch'])]
        rows.append(
            [
                name,
                f'{forward:.1f}',
                ratios[0],
                f'{both:.1f}',
                ratios[1],
                *memory,
                f'{max(errors):.1e}',
            ]
        )
    heading = ['form', 'forward ms', 'x torch', '+ backward ms', 'x torch']
    heading += ['MiB forward', 'MiB + backward', 'difference']
    size = f'{args.size[0]} x {args.size[1]}'
    title = f'{args.batch} x {args.channels} x {size}, kernel {args.kernel}, '
    title += f'{args.offset_groups} offset groups'
    print(AsciiTable([heading, *rows], f'{title}, {args.device}, 1 thread').table)
    print(
        'difference: largest of output and gradients, each against its largest value of `torch`. '
        'Forms with a grid in float32 round positions, and slopes jump at whole pixels.'
    )


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('--size', type=int, nargs=2, default=(107, 140), metavar=('H', 'W'))
    parser.add_argument('--batch', type=int, default=1, metavar='B')
    parser.add_argument('--channels', type=int, default=256, metavar='C')
    parser.add_argument('--kernel', type=int, default=1, metavar='K', help='K x K cells, K odd')
    parser.add_argument('--offset-groups', type=int, metavar='G', help='default: one per channel')
    parser.add_argument('--offset', type=float, default=3.0, help='standard deviation, pixels')
    parser.add_argument('--repeats', type=int, default=3, metavar='N')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--no-memory', action='store_true', help='time only')
    parser.add_argument('--peak-of', metavar='FORM', help='print only the peak memory of a form')
    parser.add_argument('--train', action='store_true', help='that of the backward pass, too')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    args = parser.parse_args(argv)
    args.offset_groups = args.offset_groups or args.channels
    return guard(lambda: run(args), debug=args.debug)


if __name__ == '__main__':
    sys.exit(main())
