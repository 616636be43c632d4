"""Tensors of a deformable convolution, and whether they fit each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from mmdense.utils.errors import ShapeError

from .sampling import Pair, Window, sizes

Size = int | Sequence[int]


class Operands(NamedTuple):
    """What is convolved with what.

    Args:
        x (Tensor): ``(B, C, H, W)``.
        offset (Tensor): ``(B, 2 * G * K, Ho, Wo)`` pixels, (dy, dx) per group and cell.
        weight (Tensor): ``(D, C / groups, kh, kw)``; K = kh * kw.
        bias (Tensor | None): ``(D,)``.
        mask (Tensor | None): ``(B, G * K, Ho, Wo)``.
    """

    x: Tensor
    offset: Tensor
    weight: Tensor
    bias: Tensor | None
    mask: Tensor | None


def pair(value: Size, name: str, least: int) -> Pair:
    """Two numbers for rows and columns.

    Raises:
        ValueError: If there are not one or two whole numbers of at least ``least``.
    """
    both = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(both) != 2 or any(not isinstance(n, int) or n < least for n in both):
        raise ValueError(
            f'deform_conv2d: {name} is {value!r}; expected one whole number, or two for rows '
            f'and columns, of at least {least}.'
        )
    return both[0], both[1]


def check_shapes(inputs: Operands, window: Window, groups: int) -> None:
    """Raise :class:`ShapeError`, or ``ValueError`` for ``groups``, unless all fits."""
    x, offset, weight, bias, mask = inputs
    batch, channels, *map_size = sizes(x)
    out_channels, width, *_ = sizes(weight)
    if groups < 1 or channels % groups or out_channels % groups:
        raise ValueError(
            f'deform_conv2d: groups is {groups}; expected a divisor of the {channels} input and '
            f'the {out_channels} output channels.'
        )
    if width != channels // groups:
        raise misfit('weight', weight, f'(D, {channels // groups}, kh, kw) for {channels} channels')
    size = window.out_size(*map_size)
    if min(size) < 1:
        raise misfit('x', x, f'a map that {window} fits into')
    cells, moves = window.cells, sizes(offset)[1]
    offset_groups = moves // (2 * cells)
    if moves % (2 * cells) or not offset_groups or channels % offset_groups:
        raise misfit(
            'offset',
            offset,
            f'2 * G * {cells} channels, G a divisor of {channels}: (dy, dx) for each of the '
            f'{window.kernel[0]} x {window.kernel[1]} cells of each of the G offset groups',
        )
    for name, tensor, wanted in (
        ('offset', offset, (batch, moves, *size)),
        ('mask', mask, (batch, offset_groups * cells, *size)),
        ('bias', bias, (out_channels,)),
    ):
        if tensor is not None and tuple(sizes(tensor)) != wanted:
            raise misfit(name, tensor, f'{wanted} for this x, weight and offset')


def check_ranks(x: Tensor, offset: Tensor, weight: Tensor) -> None:
    """Raise :class:`ShapeError` unless each has four dimensions, none of the kernel's empty."""
    for name, tensor in (('x', x), ('offset', offset), ('weight', weight)):
        if tensor.dim() != 4:
            raise misfit(name, tensor, 'four dimensions')
    if not sizes(weight)[2] * sizes(weight)[3]:
        raise misfit('weight', weight, 'a kernel of at least one cell')


def misfit(name: str, tensor: Tensor, expected: str) -> ShapeError:
    """The error for a tensor of the wrong shape."""
    return ShapeError(f'deform_conv2d: {name} is {tuple(sizes(tensor))}; expected {expected}.')


def check_kinds(inputs: Operands, autocast: bool) -> None:
    """Raise ``ValueError`` unless devices and dtypes agree.

    Autocast lets dtypes differ. Offsets may always be of another one: finer ones are how
    positions stay exact for a map in half precision.
    """
    x = inputs.x
    for name, tensor in inputs._asdict().items():
        if tensor is None:
            continue
        if tensor.device != x.device:
            raise ValueError(
                f'deform_conv2d: {name} is on {tensor.device}, x on {x.device}; expected one '
                'device. Move it with `.to(x.device)`.'
            )
        alike = tensor.dtype == x.dtype or autocast or name == 'offset'
        if not tensor.dtype.is_floating_point or not alike:
            raise ValueError(
                f'deform_conv2d: {name} is {tensor.dtype}, x is {x.dtype}; expected one '
                'floating dtype (only offset may be another one). Cast it with `.to(x.dtype)`.'
            )
