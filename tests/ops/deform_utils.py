"""The definition of a deformable convolution written as loops, and cases for it."""

import math

import torch
from torch.nn import functional as F


def sample(plane, y, x):
    """Bilinear value of ``plane`` at a point, zeros outside; nothing at -1 and before."""
    height, width = plane.shape
    if not (-1 < y < height and -1 < x < width):
        return plane.new_zeros(())
    top, left = math.floor(y.item()), math.floor(x.item())
    value = plane.new_zeros(())
    for row, by_row in ((top, top + 1 - y), (top + 1, y - top)):
        for column, by_column in ((left, left + 1 - x), (left + 1, x - left)):
            if 0 <= row < height and 0 <= column < width:
                value = value + plane[row, column] * by_row * by_column
    return value


def by_loops(
    x,
    offset,
    weight,
    bias=None,
    stride=(1, 1),
    padding=(0, 0),
    dilation=(1, 1),
    groups=1,
    mask=None,
):
    """Output and, by autograd through the loops, all gradients."""
    out_channels, per_group, kh, kw = weight.shape
    height, width = offset.shape[2:]
    offset_groups = offset.shape[1] // (2 * kh * kw)
    share = x.shape[1] // offset_groups
    out = []
    for b in range(len(x)):
        for d in range(out_channels):
            first = d // (out_channels // groups) * per_group
            for i in range(height):
                for j in range(width):
                    total = x.new_zeros(()) if bias is None else bias[d]
                    for c in range(per_group):
                        group = (first + c) // share
                        for k in range(kh * kw):
                            cell = group * kh * kw + k
                            y = i * stride[0] - padding[0] + k // kw * dilation[0]
                            z = j * stride[1] - padding[1] + k % kw * dilation[1]
                            value = sample(
                                x[b, first + c],
                                y + offset[b, 2 * cell, i, j],
                                z + offset[b, 2 * cell + 1, i, j],
                            )
                            factor = 1 if mask is None else mask[b, cell, i, j]
                            total = total + weight[d, c, k // kw, k % kw] * value * factor
                    out.append(total)
    return torch.stack(out).reshape(len(x), out_channels, height, width)


def per_group_form(x, offset, weight, bias=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1)):
    """One grid and one sampling per offset group and cell: the plain way to write it."""
    (kh, kw), (height, width) = weight.shape[2:], x.shape[2:]
    offset_groups = offset.shape[1] // (2 * kh * kw)
    rows = torch.arange(offset.shape[2], dtype=x.dtype)[:, None] * stride[0] - padding[0]
    columns = torch.arange(offset.shape[3], dtype=x.dtype)[None] * stride[1] - padding[1]
    samples = []
    for plane, moves in zip(x.chunk(offset_groups, 1), offset.chunk(offset_groups, 1)):
        cells = []
        for k in range(kh * kw):
            y = rows + k // kw * dilation[0] + moves[:, 2 * k]
            z = columns + k % kw * dilation[1] + moves[:, 2 * k + 1]
            grid = torch.stack((2 * z / (width - 1) - 1, 2 * y / (height - 1) - 1), -1)
            cells.append(F.grid_sample(plane, grid, align_corners=True))
        samples.append(torch.stack(cells, 2))
    return F.conv2d(torch.cat(samples, 1).flatten(1, 2), weight.flatten(1)[..., None, None], bias)


def out_size(size, kernel, stride, padding, dilation):
    return [
        (size[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1
        for i in range(2)
    ]


def operands(
    batch=2,
    channels=4,
    out_channels=4,
    size=(4, 5),
    kernel=(1, 1),
    stride=(1, 1),
    padding=(0, 0),
    dilation=(1, 1),
    groups=1,
    offset_groups=1,
    modulated=False,
    border=True,
    dtype=torch.float64,
    device='cpu',
):
    """Operands, with gradients, a third of whose samples lie on whole pixels and borders.

    Returns:
        Names to tensors, and the numbers of the convolution.
    """
    made = torch.Generator().manual_seed(sum(size) + 10 * offset_groups + 100 * kernel[0])

    def normal(*shape):
        return torch.randn(*shape, generator=made, dtype=torch.float64)

    cells = kernel[0] * kernel[1]
    out = out_size(size, kernel, stride, padding, dilation)
    offset = 2 * normal(batch, offset_groups, cells, 2, *out)
    if border:
        for axis in range(2):
            start = torch.arange(out[axis]) * stride[axis] - padding[axis]
            start = start[:, None] if axis == 0 else start[None]
            k = torch.arange(cells)
            step = (k // kernel[1] if axis == 0 else k % kernel[1]) * dilation[axis]
            position = start + step[:, None, None]  # (K, Ho, 1) or (K, 1, Wo)
            ends = torch.tensor([-1, 0, 1, size[axis] - 1, size[axis], -2, 60, -60])
            chosen = torch.randint(len(ends), (batch, offset_groups, cells, *out), generator=made)
            there = torch.rand(chosen.shape, generator=made) < 0.35
            moves = offset[:, :, :, axis]
            offset[:, :, :, axis] = torch.where(there, (ends[chosen] - position).double(), moves)
    fan_in = channels // groups * cells
    tensors = {
        'x': normal(batch, channels, *size),
        'offset': offset.reshape(batch, -1, *out),
        'weight': normal(out_channels, channels // groups, *kernel) / fan_in**0.5,
        'bias': normal(out_channels),
    }
    if modulated:
        tensors['mask'] = torch.rand(
            batch, offset_groups * cells, *out, generator=made, dtype=torch.float64
        )
    tensors = {k: v.to(device, dtype).requires_grad_() for k, v in tensors.items()}
    numbers = {'stride': stride, 'padding': padding, 'dilation': dilation, 'groups': groups}
    return tensors, numbers


def outcome(function, tensors, **numbers):
    """Output and gradients of a mean-like sum with uneven factors."""
    out = function(**tensors, **numbers)
    factors = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).reshape(out.shape)
    names = list(tensors)
    total = (out * factors.to(out)).sum()
    wanted = [tensors[name] for name in names]
    grads = torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True)
    return {'out': out.detach()} | {f'grad of {n}': g for n, g in zip(names, grads)}


def assert_equal(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name].double(),
            value.double(),
            atol=tolerance,
            rtol=tolerance,
            msg=lambda text, name=name: f'{name}: {text}',
        )
