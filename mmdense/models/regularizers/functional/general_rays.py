"""Volume rendering of planes along any rays."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .geometry import check_choice, check_planes, sample_triplane
from .integral import CLOSURES, RULES, composite
from .naive import SLOPE, HeadWeights, close

# What a ray passes outside of the planes hides nothing.
_EMPTY = -1e4


@torch.compiler.disable
def render_points(
    planes: Tensor,
    heads: Mapping[str, HeadWeights],
    points: Tensor,
    z: Tensor,
    inside: Tensor | None = None,
    rule: str = 'midpoint',
    closure: str | None = 'none',
    padding: str = 'border',
    layout: str = 'xy_yz_xz',
    aggregation: str = 'sum',
    density: HeadWeights | None = None,
    chunk: int = 1024,
) -> dict[str, Tensor]:
    """Render task vectors along rays that are given by their samples.

    First layers are applied to the planes and last layers to the integrals, as in
    :func:`render_factorised`; straight rays and shared depths are not assumed. Rays are
    computed ``chunk`` at a time and made again in the backward pass.

    Args:
        planes (Tensor): ``(B, P, C, Hp, Wp)``.
        heads (Mapping): Task name to its MLP.
        points (Tensor): Samples ``(B, R, S, 3)``, x, y, z in [-1, 1].
        z (Tensor): Depths along the rays, ascending, broadcast to ``(B, R, S)``; differences
            are lengths of intervals.
        inside (Tensor | None): Samples ``(B, R, S)`` that count; others are empty.
        rule (str): See :func:`composite`.
        closure (str | None): See :func:`render_naive`.
        padding (str): See :func:`sample_triplane`.
        layout (str): See :func:`sample_triplane`.
        aggregation (str): See :func:`sample_triplane`.
        density (HeadWeights | None): See :func:`render_naive`.
        chunk (int): Rays at a time.

    Returns:
        dict[str, Tensor]: Task name to ``(B, R, C_t)``.
    """
    check_planes(planes, layout, padding, aggregation)
    check_choice('rule', rule, RULES)
    closure = closure or 'none'
    check_choice('closure', closure, CLOSURES)
    layers = [*heads.values(), *(() if density is None else (density,))]
    weight = torch.cat([layer['w1'] for layer in layers])
    bias = torch.cat([layer['b1'] for layer in layers])
    by_depth = torch.cat([layer['wz'] for layer in layers]) if 'wz' in layers[0] else None
    projected = torch.einsum('bpchw,kc->bpkhw', planes, weight)
    scored = [density] * len(heads) if density is not None else list(heads.values())
    w3 = torch.stack([head['w3'] for head in scored])
    b3 = torch.stack([head['b3'].reshape(()) for head in scored])
    count, shape = len(heads), points.shape[:3]
    z = z.expand(shape)
    inside = torch.ones_like(z, dtype=torch.bool) if inside is None else inside

    def some(
        projected: Tensor, w3: Tensor, b3: Tensor, bias: Tensor, where: Tensor, at: Tensor,
        counts: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        read = sample_triplane(projected, where.flatten(1, 2), padding, layout, aggregation) + bias
        if by_depth is not None:
            read = read + where[..., 2].flatten(1)[..., None] * by_depth
        hidden = F.leaky_relu(read, SLOPE).unflatten(-1, (len(layers), -1))
        hidden = hidden.unflatten(1, where.shape[1:3])  # (B, r, S, G, K)
        values = hidden[..., :count, :]
        dense = hidden[..., count:, :].expand_as(values) if density is not None else values
        sigma = ((dense * w3).sum(-1) + b3).masked_fill(~counts[..., None], _EMPTY)
        found = composite(sigma.transpose(2, 3), at[:, :, None], rule)
        integral = torch.einsum('brts,brstk->brtk', found.sample_weights, values)
        return integral, found.opacity

    pieces = []
    for first in range(0, shape[1], chunk):
        part = [t[:, first : first + chunk] for t in (points, z, inside)]
        pieces.append(
            checkpoint(
                some, projected, w3, b3, bias, *part,
                use_reentrant=False, preserve_rng_state=False,
            )
        )  # fmt: skip
    hidden, opacity = (torch.cat(parts, dim=1) for parts in zip(*pieces))
    values = {}
    for index, (name, head) in enumerate(heads.items()):
        through = opacity[..., index]
        value = hidden[:, :, index] @ head['w2'].mT + through[..., None] * head['b2']
        values[name] = close(value, through, closure)
    return values
