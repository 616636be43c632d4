"""The integral over hidden vectors that never holds them all.

One hidden vector per sample is a hundred times more than the tables it is the sum of. So
they are made a few rows at a time, in memory that stays in the cache, and made again in the
backward pass.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
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
from .ray_kernel import (
    Chunk,
    RayKernel,
    RaySpec,
    TableGradients,
    back_in_order,
    dot,
    hidden_of,
    in_order,
    merged_again,
    spread_back,
    weigh,
)


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
        kernel = RayKernel(spec, coarse, tensors)
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
        kernel = RayKernel(ctx.spec, coarse, tensors)
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
    kernel: RayKernel, fine: Tensor | None
) -> tuple[RayIntegral, Tensor | None, Tensor | None]:
    spec, rays = kernel.spec, kernel.rays
    groups, vectors, height, width, channels = rays.shape
    own = kernel.coarse.shape[-1]
    count = own + (0 if fine is None else fine.shape[-1])
    integrals = vectors - 1 if spec.shared else vectors
    out = RayIntegral(
        rays.new_empty(groups, integrals, height, width, channels),
        *(rays.new_empty(groups, height, width) for _ in range(2)),
        *(rays.new_empty(groups, height, width, count if spec.keep_sigma else 0) for _ in range(2)),
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
        densities = in_order(torch.cat(sigma, dim=-1), samples.order)
        weights, shares = spread(attenuate(densities, samples.z, spec.rule), spec.rule)
        opacity = weights.sum(-1)
        out.opacity[chunk] = opacity
        out.depth[chunk] = _expected_depth(weights, samples.z, spec.rule, opacity)
        if spec.keep_sigma:
            out.z[chunk], out.sigma[chunk] = samples.z, densities
        if order is not None and samples.order is not None:
            order[chunk] = samples.order.to(torch.int16)
        parts = back_in_order(shares, samples.order).split([h.shape[-2] for h in hidden], dim=-1)
        for v in range(integrals):
            if spec.shared:
                hidden = hidden_of(kernel, chunk, v, own, where)
            total = weigh(parts[0], hidden[0])
            for share, vector in zip(parts[1:], hidden[1:]):
                total += weigh(share, vector)
            out.hidden[chunk.groups, v, chunk.rows] = total
    return out, depths, order


def _expected_depth(weights: Tensor, z: Tensor, rule: str, opacity: Tensor) -> Tensor:
    depth = (weights * places_of(z, rule)).sum(-1) / opacity.clamp(min=DEPTH_EPS)
    return torch.minimum(torch.maximum(depth, z[..., 0]), z[..., -1])


def _backward(
    kernel: RayKernel,
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
    grads = TableGradients(kernel)
    for chunk in kernel.chunks(0 if depths is None else depths.shape[-1]):
        found = where = None
        if depths is not None:
            found = depths[chunk]
            where = kernel.rows_of(chunk, found)
        samples = merged_again(kernel, chunk, found, order)
        hidden = hidden_of(kernel, chunk, vectors - 1, own, where)
        sizes = [h.shape[-2] for h in hidden]
        densities = torch.cat([kernel.density(chunk, h) for h in hidden], dim=-1)
        parts = attenuate(in_order(densities, samples.order), samples.z, spec.rule)
        _, shares = spread(parts, spec.rule)
        shares = back_in_order(shares, samples.order)
        of_shares = torch.zeros_like(shares)
        outer = None if of_hidden is None else of_hidden[chunk.groups, :, chunk.rows]
        if outer is not None:
            for v in range(integrals):
                vector = hidden_of(kernel, chunk, v, own, where) if spec.shared else hidden
                of_shares += torch.cat([dot(outer[:, v], h) for h in vector], dim=-1)
        of_weights = _of_weights(in_order(of_shares, samples.order), spec.rule)
        _add_outer(of_weights, parts, samples.z, spec.rule, chunk, of_opacity, of_depth)
        of_density = attenuate_backward(of_weights, parts, spec.rule)
        if of_sigma is not None and spec.keep_sigma:
            of_density = of_density + of_sigma[chunk]
        of_density = back_in_order(of_density, samples.order)
        pieces = (shares.split(sizes, -1), of_density.split(sizes, -1))
        for piece, density in zip(hidden, pieces[1]):
            grads.density(chunk, piece, density.contiguous())
        for v in range(vectors):
            vector = hidden_of(kernel, chunk, v, own, where) if spec.shared else hidden
            is_density = v == vectors - 1
            spread_back(
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
    chunk: Chunk,
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
