"""The integral over hidden vectors that never holds them all.

One hidden vector per sample is a hundred times more than the tables it is the sum of. So
they are made a few rows at a time, in memory that stays in the cache, and made again in the
backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .integral import (
    DEPTH_EPS,
    attenuate,
    attenuate_backward,
    importance_depths,
    places_of,
    spread,
)
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


class RayIntegral(NamedTuple):
    """Result for D density groups of V hidden vectors.

    Attributes:
        hidden (Tensor): ``sum_k e_k a_k``, ``(D, V, H, W, K)`` (without a common density's).
        opacity (Tensor): ``(D, H, W)``.
        depth (Tensor): ``(D, H, W)``.
        z (Tensor): Depths, ascending, ``(D, H, W, S)``; empty unless ``keep_sigma``.
        sigma (Tensor): Raw densities at ``z``, or empty.
    """

    hidden: Tensor
    opacity: Tensor
    depth: Tensor
    z: Tensor
    sigma: Tensor


class _Samples(NamedTuple):
    """Samples of a chunk in ascending order; None for ``order`` where they come so."""

    z: Tensor
    order: Tensor | None


class _Chunk(NamedTuple):
    groups: slice
    rows: slice


class _Kernel:
    """Hidden vectors, densities and depths of a chunk."""

    def __init__(self, spec: RaySpec, coarse: Tensor, tensors: tuple[Tensor | None, ...]) -> None:
        self.spec, self.coarse = spec, coarse
        rays, columns, rows, table, w3, b3 = tensors
        assert rays is not None and w3 is not None and b3 is not None
        self.rays, self.columns, self.rows, self.table = rays, columns, rows, table
        self.w3, self.b3 = w3, b3

    def chunks(self, fine: int) -> Iterator[_Chunk]:
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
                yield _Chunk(
                    slice(first, min(first + groups, count)), slice(top, min(top + rows, height))
                )

    def coarse_hidden(self, chunk: _Chunk, v: int) -> Tensor:
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

    def fine_hidden(self, chunk: _Chunk, v: int, index: Tensor, weight: Tensor) -> Tensor:
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

    def density(self, chunk: _Chunk, hidden: Tensor) -> Tensor:
        """Raw densities ``(d, h, W, S)``."""
        w3, b3 = self.w3[chunk.groups], self.b3[chunk.groups]
        if len(w3) == 1:
            return hidden @ w3[0] + b3
        flat = torch.bmm(hidden.flatten(1, 3), w3[..., None])
        return flat.view(hidden.shape[:-1]) + b3.view(-1, 1, 1, 1)

    def rows_of(self, chunk: _Chunk, z: Tensor) -> tuple[Tensor, Tensor]:
        return line_rows(self.spec.lines, z, chunk.rows.start, self.spec.padding)

    def merge(self, chunk: _Chunk, fine: Tensor | None) -> _Samples:
        """Depths of both passes, sorted."""
        coarse = self.coarse[chunk.groups, None, None]
        if fine is None:
            rays = self.rays[chunk.groups, 0, chunk.rows]
            return _Samples(coarse.expand(*rays.shape[:3], -1), None)
        z = torch.cat([coarse.expand(*fine.shape[:3], -1), fine], dim=-1)
        z, order = z.sort(dim=-1)
        return _Samples(z, order)


def _dot(vectors: Tensor, hidden: Tensor) -> Tensor:
    """``(..., K)`` times ``(..., S, K)``, ``(..., S)``."""
    # A row vector times a matrix; a matrix times a column runs ten times slower on CPUs.
    rays = hidden.flatten(0, -3)
    found = torch.bmm(vectors.reshape(len(rays), 1, -1), rays.mT)
    return found.view(hidden.shape[:-1])


def _weigh(shares: Tensor, hidden: Tensor) -> Tensor:
    """``(..., S)`` times ``(..., S, K)``, ``(..., K)``."""
    rays = hidden.flatten(0, -3)
    found = torch.bmm(shares.reshape(len(rays), 1, -1), rays)
    return found.view(*hidden.shape[:-2], hidden.shape[-1])


def _sorted(values: Tensor, order: Tensor | None) -> Tensor:
    return values if order is None else values.gather(-1, order)


def _unsorted(values: Tensor, order: Tensor | None) -> Tensor:
    return values if order is None else torch.empty_like(values).scatter_(-1, order, values)


class _Integrate(torch.autograd.Function):
    """Keeps the tables and the fine depths; see :func:`integrate`."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, spec: RaySpec, coarse: Tensor, fine: Tensor | None, *tensors: Tensor | None
    ) -> tuple[Tensor, ...]:
        if spec.half_tables:
            kept = tuple(t if t is None else t.half() for t in tensors[:4]) + tensors[4:]
            tensors = tuple(t if t is None else t.to(coarse.dtype) for t in kept)
        else:
            kept = tensors
        kernel = _Kernel(spec, coarse, tensors)
        result, depths, order = _forward(kernel, fine)
        ctx.spec, ctx.has_fine = spec, fine is not None
        ctx.save_for_backward(coarse, depths, order, *kept)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(result.z)
        return tuple(result)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        coarse, depths, order, *kept = ctx.saved_tensors
        tensors = tuple(t if t is None else t.to(coarse.dtype) for t in kept)
        kernel = _Kernel(ctx.spec, coarse, tensors)
        hidden, opacity, depth, _, sigma = grads
        wanted = _backward(kernel, depths, order, hidden, opacity, depth, sigma)
        return (None, None, None, *wanted)


def integrate(
    spec: RaySpec,
    coarse: Tensor,
    fine: Tensor | None,
    rays: Tensor,
    columns: Tensor | None,
    rows: Tensor | None,
    table: Tensor | None,
    w3: Tensor,
    b3: Tensor,
) -> RayIntegral:
    """Integrate leaky-ReLU hidden vectors along straight rays.

    The vector of a sample is ``leaky_relu(rays + columns + rows)`` at the shared depths, and
    ``leaky_relu(rays + interpolated table)`` at depths of its own. Densities, prefix sums and
    exponentials are in the dtype of the tables.

    Args:
        spec (RaySpec): How.
        coarse (Tensor): Depths that all rays of a group share, ``(D, S_c)``, ascending.
        fine (Tensor | None): ``(D, H, W, S_f)``, depths or what they are drawn from.
        rays (Tensor): ``(D, V, H, W, K)``.
        columns (Tensor | None): ``(D, V, W, S_c, K)``.
        rows (Tensor | None): ``(D, V, H, S_c, K)``.
        table (Tensor | None): Runs of the lines, ``(D, V, L, K)``.
        w3 (Tensor): Density layer, ``(D, K)``.
        b3 (Tensor): ``(D,)``.
    """
    return RayIntegral(*_Integrate.apply(spec, coarse, fine, rays, columns, rows, table, w3, b3))


def _forward(
    kernel: _Kernel, fine: Tensor | None
) -> tuple[RayIntegral, Tensor | None, Tensor | None]:
    spec, rays = kernel.spec, kernel.rays
    groups, vectors, height, width, channels = rays.shape
    own = kernel.coarse.shape[-1]
    count = own + (0 if fine is None else fine.shape[-1])
    integrals = vectors - 1 if spec.shared else vectors
    out = RayIntegral(
        rays.new_empty(groups, integrals, height, width, channels),
        *(rays.new_empty(groups, height, width) for _ in range(2)),
        *(
            rays.new_empty(groups, height, width, count if spec.keep_sigma else 0)
            for _ in range(2)
        ),
    )
    depths = None if fine is None else torch.empty_like(fine)
    # Sorting again costs more than keeping the order, which fits two bytes.
    order = None if fine is None else rays.new_empty(*fine.shape[:3], count, dtype=torch.int16)
    for chunk in kernel.chunks(count - own):
        hidden: list[Tensor] = []
        sigma: list[Tensor] = []
        if own:
            hidden.append(kernel.coarse_hidden(chunk, vectors - 1))
            sigma.append(kernel.density(chunk, hidden[0]))
        found = None
        where = None
        if fine is not None and depths is not None:
            found = fine[chunk]
            if spec.draw:
                z = kernel.coarse[chunk.groups, None, None]
                first, _ = spread(attenuate(sigma[0], z, spec.rule), spec.rule)
                found = importance_depths(z, first[..., : own - 1], found, spec.floor)
            depths[chunk] = found
            where = kernel.rows_of(chunk, found)
            hidden.append(kernel.fine_hidden(chunk, vectors - 1, *where))
            sigma.append(kernel.density(chunk, hidden[-1]))
        samples = kernel.merge(chunk, found)
        densities = _sorted(torch.cat(sigma, dim=-1), samples.order)
        weights, shares = spread(attenuate(densities, samples.z, spec.rule), spec.rule)
        opacity = weights.sum(-1)
        out.opacity[chunk] = opacity
        out.depth[chunk] = _expected_depth(weights, samples.z, spec.rule, opacity)
        if spec.keep_sigma:
            out.z[chunk], out.sigma[chunk] = samples.z, densities
        if order is not None and samples.order is not None:
            order[chunk] = samples.order.to(torch.int16)
        parts = _unsorted(shares, samples.order).split([h.shape[-2] for h in hidden], dim=-1)
        for v in range(integrals):
            if spec.shared:
                hidden = _hidden(kernel, chunk, v, own, where)
            total = _weigh(parts[0], hidden[0])
            for share, vector in zip(parts[1:], hidden[1:]):
                total += _weigh(share, vector)
            out.hidden[chunk.groups, v, chunk.rows] = total
    return out, depths, order


def _hidden(
    kernel: _Kernel, chunk: _Chunk, v: int, coarse: int, where: tuple[Tensor, Tensor] | None
) -> list[Tensor]:
    """Hidden vectors of a chunk: at shared depths, and at depths of their own."""
    hidden = [kernel.coarse_hidden(chunk, v)] if coarse else []
    return hidden if where is None else [*hidden, kernel.fine_hidden(chunk, v, *where)]


def _expected_depth(weights: Tensor, z: Tensor, rule: str, opacity: Tensor) -> Tensor:
    depth = (weights * places_of(z, rule)).sum(-1) / opacity.clamp(min=DEPTH_EPS)
    return torch.minimum(torch.maximum(depth, z[..., 0]), z[..., -1])


class _Gradients:
    """Gradients of the tables, filled chunk by chunk."""

    def __init__(self, kernel: _Kernel) -> None:
        self.kernel = kernel
        self.rays = torch.empty_like(kernel.rays, memory_format=torch.contiguous_format)
        self.columns, self.rows, self.table = (
            None if t is None else torch.zeros_like(t, memory_format=torch.contiguous_format)
            for t in (kernel.columns, kernel.rows, kernel.table)
        )
        self.w3, self.b3 = torch.zeros_like(kernel.w3), torch.zeros_like(kernel.b3)

    def density(self, chunk: _Chunk, hidden: Tensor, of_sigma: Tensor) -> None:
        self.b3[chunk.groups] += of_sigma.flatten(1).sum(-1)
        flat = hidden.flatten(1, 3)
        self.w3[chunk.groups] += torch.bmm(of_sigma.reshape(len(flat), 1, -1), flat)[:, 0]

    def coarse(self, chunk: _Chunk, v: int, grad: Tensor) -> Tensor:
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

    def fine(self, chunk: _Chunk, v: int, where: tuple[Tensor, Tensor], grad: Tensor) -> Tensor:
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


def _backward(
    kernel: _Kernel,
    depths: Tensor | None,
    order: Tensor | None,
    of_hidden: Tensor | None,
    of_opacity: Tensor | None,
    of_depth: Tensor | None,
    of_sigma: Tensor | None,
) -> tuple[Tensor | None, ...]:
    spec, rays = kernel.spec, kernel.rays
    vectors, own = rays.shape[1], kernel.coarse.shape[-1]
    integrals = vectors - 1 if spec.shared else vectors
    grads = _Gradients(kernel)
    for chunk in kernel.chunks(0 if depths is None else depths.shape[-1]):
        found = where = None
        if depths is not None:
            found = depths[chunk]
            where = kernel.rows_of(chunk, found)
        samples = _merged(kernel, chunk, found, order)
        hidden = _hidden(kernel, chunk, vectors - 1, own, where)
        sizes = [h.shape[-2] for h in hidden]
        densities = torch.cat([kernel.density(chunk, h) for h in hidden], dim=-1)
        parts = attenuate(_sorted(densities, samples.order), samples.z, spec.rule)
        _, shares = spread(parts, spec.rule)
        shares = _unsorted(shares, samples.order)
        of_shares = torch.zeros_like(shares)
        outer = None if of_hidden is None else of_hidden[chunk.groups, :, chunk.rows]
        if outer is not None:
            for v in range(integrals):
                vector = _hidden(kernel, chunk, v, own, where) if spec.shared else hidden
                of_shares += torch.cat([_dot(outer[:, v], h) for h in vector], dim=-1)
        of_weights = _of_weights(_sorted(of_shares, samples.order), spec.rule)
        _add_outer(of_weights, parts, samples.z, spec.rule, chunk, of_opacity, of_depth)
        of_density = attenuate_backward(of_weights, parts, spec.rule)
        if of_sigma is not None and spec.keep_sigma:
            of_density = of_density + of_sigma[chunk]
        of_density = _unsorted(of_density, samples.order)
        pieces = (shares.split(sizes, -1), of_density.split(sizes, -1))
        for vector, density in zip(hidden, pieces[1]):
            grads.density(chunk, vector, density.contiguous())
        for v in range(vectors):
            vector = _hidden(kernel, chunk, v, own, where) if spec.shared else hidden
            is_density = v == vectors - 1
            _spread_back(
                grads,
                chunk,
                v,
                vector,
                None if outer is None or v >= integrals else outer[:, v],
                pieces[0],
                pieces[1] if is_density else None,
                where,
            )
    return grads.tensors()


def _merged(
    kernel: _Kernel, chunk: _Chunk, fine: Tensor | None, order: Tensor | None
) -> _Samples:
    """What :meth:`_Kernel.merge` found in the forward pass."""
    if fine is None or order is None:
        return kernel.merge(chunk, None)
    coarse = kernel.coarse[chunk.groups, None, None].expand(*fine.shape[:3], -1)
    places = order[chunk].long()
    return _Samples(torch.cat([coarse, fine], dim=-1).gather(-1, places), places)


def _of_weights(of_shares: Tensor, rule: str) -> Tensor:
    """Gradient of the weights, given that of the shares of the samples."""
    if rule == 'left_opaque':
        return of_shares.clone()
    return (of_shares[..., :-1] + of_shares[..., 1:]) / 2


def _add_outer(
    of_weights: Tensor,
    parts: Any,
    z: Tensor,
    rule: str,
    chunk: _Chunk,
    of_opacity: Tensor | None,
    of_depth: Tensor | None,
) -> None:
    """Add what opacity and expected depth ask of the weights, in place."""
    if of_opacity is not None:
        of_weights += of_opacity[chunk][..., None]
    if of_depth is None:
        return
    weights, _ = spread(parts, rule)
    opacity = weights.sum(-1, keepdim=True)
    below = opacity.clamp(min=DEPTH_EPS)
    places = places_of(z, rule)
    mean = (weights * places).sum(-1, keepdim=True) / below
    inside = (mean >= z[..., :1]) & (mean <= z[..., -1:])
    centred = places - mean * (opacity >= DEPTH_EPS)
    of_weights += of_depth[chunk][..., None] * inside * centred / below


def _spread_back(
    grads: _Gradients,
    chunk: _Chunk,
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
