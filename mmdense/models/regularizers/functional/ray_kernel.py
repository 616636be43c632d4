"""Hidden vectors of a few rows of rays at a time, forward and backward."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .naive import SLOPE
from .tables import Line, line_rows

_MIB = 2**20
#: Working memory of a chunk in MiB: what stays in a core's cache, and what keeps a GPU busy.
CHUNK_MIB = dict(cpu=4.0, other=256.0)


@dataclass(frozen=True)
class RaySpec:
    """How to integrate.

    Attributes:
        rule (str): See :func:`~.integral.composite`.
        padding (str): See :func:`~.geometry.sample_triplane`.
        lines (tuple[Line, ...]): Of the joint table.
        shared (bool): Whether the last of the V hidden vectors of a group is that of a common
            density; otherwise V is 1 and it is its own.
        draw (bool): Whether ``fine`` are numbers in [0, 1] for :func:`importance_depths`,
            rather than depths.
        floor (float): See :func:`importance_depths`.
        keep_sigma (bool): Whether the raw densities are wanted.
        chunk_mib (float | None): Working memory of a chunk; None: by the device.
        half_tables (bool): Whether tables are kept in half precision for the backward pass
            (and rounded to it before).
    """

    rule: str
    padding: str
    lines: tuple[Line, ...]
    shared: bool
    draw: bool
    floor: float
    keep_sigma: bool
    chunk_mib: float | None
    half_tables: bool


class Samples(NamedTuple):
    """Samples of a chunk in ascending order; None for ``order`` where they come so."""

    z: Tensor
    order: Tensor | None


class Chunk(NamedTuple):
    """Density groups and rows of the grid that are worked on at once."""

    groups: slice
    rows: slice


class RayKernel:
    """Hidden vectors, densities and depths of a chunk."""

    def __init__(self, spec: RaySpec, coarse: Tensor, tensors: tuple[Tensor | None, ...]) -> None:
        self.spec, self.coarse = spec, coarse
        rays, columns, rows, table, w3, b3 = tensors
        assert rays is not None and w3 is not None and b3 is not None
        self.rays, self.columns, self.rows, self.table = rays, columns, rows, table
        self.w3, self.b3 = w3, b3

    def chunks(self, fine: int) -> Iterator[Chunk]:
        """Rows of one group, or several groups, that fit the budget."""
        count, _, height, width, channels = self.rays.shape
        budget = self.spec.chunk_mib
        if budget is None:
            budget = CHUNK_MIB['cpu' if self.rays.device.type == 'cpu' else 'other']
        samples = max(self.coarse.shape[-1], fine)
        each = width * samples * channels * self.rays.element_size()
        rows = max(1, int(budget * _MIB) // max(each, 1))
        groups = max(1, rows // height)
        for first in range(0, count, groups):
            for top in range(0, height, rows):
                yield Chunk(
                    slice(first, min(first + groups, count)), slice(top, min(top + rows, height))
                )

    def coarse_hidden(self, chunk: Chunk, v: int) -> Tensor:
        """``(d, h, W, S_c, K)`` at the depths that all rays share."""
        groups, rows = chunk
        rays = self.rays[groups, v, rows][..., None, :]
        hidden = rays.new_empty(*rays.shape[:3], self.coarse.shape[-1], rays.shape[-1])
        if self.columns is not None and self.rows is not None:
            torch.add(
                self.columns[groups, v, None], self.rows[groups, v, rows][:, :, None], out=hidden
            )
        elif self.columns is not None:
            hidden.copy_(self.columns[groups, v, None].expand_as(hidden))
        elif self.rows is not None:
            hidden.copy_(self.rows[groups, v, rows][:, :, None].expand_as(hidden))
        else:
            hidden.zero_()
        return F.leaky_relu_(hidden.add_(rays), SLOPE)

    def fine_hidden(self, chunk: Chunk, v: int, index: Tensor, weight: Tensor) -> Tensor:
        """``(d, h, W, S_f, K)`` at depths of their own, given rows of the table and weights."""
        groups, rows = chunk
        rays = self.rays[groups, v, rows][..., None, :]
        shape = (*index.shape[:-1], rays.shape[-1])
        if self.table is None:
            hidden = rays.expand(shape).contiguous()
        else:
            table = self.table[groups, v]
            # Runs of the groups of a chunk lie one after the other.
            step = torch.arange(table.shape[0], device=table.device) * table.shape[1]
            index = index + step.view(-1, 1, 1, 1, 1)
            hidden = F.embedding_bag(
                index.flatten(0, 3),
                table.reshape(-1, table.shape[-1]),
                mode='sum',
                per_sample_weights=weight.flatten(0, 3),
            ).view(shape)
            hidden.add_(rays)
        return F.leaky_relu_(hidden, SLOPE)

    def density(self, chunk: Chunk, hidden: Tensor) -> Tensor:
        """Raw densities ``(d, h, W, S)``."""
        w3, b3 = self.w3[chunk.groups], self.b3[chunk.groups]
        if len(w3) == 1:
            return hidden @ w3[0] + b3
        flat = torch.bmm(hidden.flatten(1, 3), w3[..., None])
        return flat.view(hidden.shape[:-1]) + b3.view(-1, 1, 1, 1)

    def rows_of(self, chunk: Chunk, z: Tensor) -> tuple[Tensor, Tensor]:
        return line_rows(self.spec.lines, z, chunk.rows.start, self.spec.padding)

    def merge(self, chunk: Chunk, fine: Tensor | None) -> Samples:
        """Depths of both passes, sorted."""
        coarse = self.coarse[chunk.groups, None, None]
        if fine is None:
            rays = self.rays[chunk.groups, 0, chunk.rows]
            return Samples(coarse.expand(*rays.shape[:3], -1), None)
        z = torch.cat([coarse.expand(*fine.shape[:3], -1), fine], dim=-1)
        z, order = z.sort(dim=-1)
        return Samples(z, order)


def dot(vectors: Tensor, hidden: Tensor) -> Tensor:
    """``(..., K)`` times ``(..., S, K)``, ``(..., S)``."""
    # A row vector times a matrix; a matrix times a column runs ten times slower on CPUs.
    rays = hidden.flatten(0, -3)
    found = torch.bmm(vectors.reshape(len(rays), 1, -1), rays.mT)
    return found.view(hidden.shape[:-1])


def weigh(shares: Tensor, hidden: Tensor) -> Tensor:
    """``(..., S)`` times ``(..., S, K)``, ``(..., K)``."""
    rays = hidden.flatten(0, -3)
    found = torch.bmm(shares.reshape(len(rays), 1, -1), rays)
    return found.view(*hidden.shape[:-2], hidden.shape[-1])


def in_order(values: Tensor, order: Tensor | None) -> Tensor:
    """Values of samples in the order of their depths."""
    return values if order is None else values.gather(-1, order)


def back_in_order(values: Tensor, order: Tensor | None) -> Tensor:
    """The inverse of :func:`in_order`."""
    return values if order is None else torch.empty_like(values).scatter_(-1, order, values)


def hidden_of(
    kernel: RayKernel, chunk: Chunk, v: int, coarse: int, where: tuple[Tensor, Tensor] | None
) -> list[Tensor]:
    """Hidden vectors of a chunk: at shared depths, and at depths of their own."""
    hidden = [kernel.coarse_hidden(chunk, v)] if coarse else []
    return hidden if where is None else [*hidden, kernel.fine_hidden(chunk, v, *where)]


def merged_again(
    kernel: RayKernel, chunk: Chunk, fine: Tensor | None, order: Tensor | None
) -> Samples:
    """What :meth:`RayKernel.merge` found in the forward pass."""
    if fine is None or order is None:
        return kernel.merge(chunk, None)
    coarse = kernel.coarse[chunk.groups, None, None].expand(*fine.shape[:3], -1)
    places = order[chunk].long()
    return Samples(torch.cat([coarse, fine], dim=-1).gather(-1, places), places)


class TableGradients:
    """Gradients of the tables, filled chunk by chunk."""

    def __init__(self, kernel: RayKernel) -> None:
        self.kernel = kernel
        self.rays = torch.empty_like(kernel.rays, memory_format=torch.contiguous_format)
        self.columns, self.rows, self.table = (
            None if t is None else torch.zeros_like(t, memory_format=torch.contiguous_format)
            for t in (kernel.columns, kernel.rows, kernel.table)
        )
        self.w3, self.b3 = torch.zeros_like(kernel.w3), torch.zeros_like(kernel.b3)

    def density(self, chunk: Chunk, hidden: Tensor, of_sigma: Tensor) -> None:
        self.b3[chunk.groups] += of_sigma.flatten(1).sum(-1)
        flat = hidden.flatten(1, 3)
        self.w3[chunk.groups] += torch.bmm(of_sigma.reshape(len(flat), 1, -1), flat)[:, 0]

    def coarse(self, chunk: Chunk, v: int, grad: Tensor) -> Tensor:
        """Add ``(d, h, W, S_c, K)``; returns its sum over the samples."""
        groups, rows = chunk
        if self.columns is not None:
            if grad.shape[1] == 1:
                self.columns[groups, v] += grad[:, 0]
            else:
                self.columns[groups, v] += grad.sum(1)
        if self.rows is not None:
            self.rows[groups, v, rows] += grad.sum(2)
        return grad.sum(-2)

    def fine(self, chunk: Chunk, v: int, where: tuple[Tensor, Tensor], grad: Tensor) -> Tensor:
        """Add ``(d, h, W, S_f, K)``; returns its sum over the samples."""
        if self.table is not None:
            index, weight = where
            for d in range(len(grad)):
                table = self.table[chunk.groups.start + d, v]
                flat = grad[d].flatten(0, 2)
                for corner in range(index.shape[-1]):
                    share = weight[d, ..., corner].reshape(-1, 1)
                    table.index_add_(0, index[d, ..., corner].flatten(), flat * share)
        return grad.sum(-2)

    def tensors(self) -> tuple[Tensor | None, ...]:
        return self.rays, self.columns, self.rows, self.table, self.w3, self.b3


def spread_back(
    grads: TableGradients,
    chunk: Chunk,
    v: int,
    hidden: list[Tensor],
    outer: Tensor | None,
    shares: tuple[Tensor, ...],
    densities: tuple[Tensor, ...] | None,
    where: tuple[Tensor, Tensor] | None,
) -> None:
    """Gradients of the tables of one hidden vector.

    ``da = e (x) G + ds (x) w3``, a product of rank two, through the leaky ReLU, whose
    output has the sign of its input.
    """
    total: Tensor | None = None
    w3 = grads.kernel.w3[chunk.groups, None, None]
    for index, vector in enumerate(hidden):
        left, right = [], []
        if outer is not None:
            left.append(shares[index])
            right.append(outer)
        if densities is not None:
            left.append(densities[index])
            right.append(w3.expand(*vector.shape[:3], -1))
        count = len(left)
        if not count:
            continue
        rank = torch.stack(left, dim=-2).reshape(-1, count, vector.shape[-2]).mT
        grad = torch.bmm(rank, torch.stack(right, dim=-2).reshape(-1, count, vector.shape[-1]))
        grad = grad.view(vector.shape)
        grad = torch.ops.aten.leaky_relu_backward(grad, vector, SLOPE, True)
        is_coarse = grads.kernel.coarse.shape[-1] > 0 and index == 0
        if is_coarse:
            summed = grads.coarse(chunk, v, grad)
        else:
            assert where is not None
            summed = grads.fine(chunk, v, where, grad)
        total = summed if total is None else total.add_(summed)
    target = grads.rays[chunk.groups, v, chunk.rows]
    if total is None:
        target.zero_()
    else:
        target.copy_(total)
