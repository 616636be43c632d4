"""Volume rendering of planes, written as the mathematics is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdense.utils import ShapeError

from .geometry import check_choice, pixel_centers, sample_triplane
from .integral import CLOSURE_EPS, CLOSURES, composite

#: Slope of the leaky ReLU for negative inputs.
SLOPE = 0.2
#: Parameters of one MLP: ``w1 (K, C)``, ``b1 (K,)``, ``w2 (C_t, K)``, ``b2 (C_t,)``,
#: ``w3 (K,)``, ``b3 ()``; ``wz (K,)`` where the depth itself is an input.
HeadWeights = Mapping[str, Tensor]


class RayDetails(NamedTuple):
    """What a render knows of its rays, row-major over the grid.

    Attributes:
        z (Tensor | None): Depths ``(B, R, S)``, ascending; None where not asked for.
        weights (Tensor | None): ``(B, R, S - 1)`` or ``(B, R, S)`` (see :class:`Composite`).
        sample_weights (Tensor | None): ``(B, R, S)``.
        opacity (Tensor): ``(B, R)``.
        depth (Tensor): Expected depth ``(B, R)``.
    """

    z: Tensor | None
    weights: Tensor | None
    sample_weights: Tensor | None
    opacity: Tensor
    depth: Tensor


def depths_per_ray(z: Tensor, batch: int, rays: int) -> Tensor:
    """Depths ``(S,)``, ``(B, S)`` or ``(B, R, S)`` as a view ``(B, R, S)``.

    Raises:
        ShapeError: If they fit neither the pictures nor the rays.
    """
    if z.ndim == 2:
        z = z[:, None]
    try:
        return z.expand(batch, rays, z.shape[-1])
    except RuntimeError as error:
        raise ShapeError(
            f'depths of shape {tuple(z.shape)} for {batch} pictures of {rays} rays; give (S,), '
            f'({batch}, S) or ({batch}, {rays}, S).'
        ) from error


def ray_points(
    size: tuple[int, int], z: Tensor, window: tuple[int, int, int, int] | None = None
) -> Tensor:
    """Points of straight rays, ``(B, R * S, 3)``, of depths ``(B, R, S)``."""
    y, x = torch.meshgrid(*(pixel_centers(n, z.dtype, z.device) for n in size), indexing='ij')
    if window is not None:
        top, left, height, width = window
        x, y = (c[top : top + height, left : left + width] for c in (x, y))
    x, y = (c.reshape(1, -1, 1).expand_as(z) for c in (x, y))
    return torch.stack([x, y, z], dim=-1).flatten(1, 2)


def hidden_vectors(head: HeadWeights, features: Tensor, depths: Tensor) -> Tensor:
    """First layer of an MLP on features ``(..., C)`` at depths ``(...)``."""
    before = features @ head['w1'].mT + head['b1']
    if 'wz' in head:
        before = before + depths[..., None] * head['wz']
    return F.leaky_relu(before, SLOPE)


def close(values: Tensor, opacity: Tensor, closure: str) -> Tensor:
    """Render ``(..., C_t)`` as it is, or over its opacity ``(...)``."""
    if closure == 'normalize':
        return values / opacity[..., None].clamp(min=CLOSURE_EPS)
    return values


def render_naive(
    planes: Tensor,
    heads: Mapping[str, HeadWeights],
    size: tuple[int, int],
    z: Tensor,
    rule: str = 'midpoint',
    closure: str | None = 'none',
    padding: str = 'border',
    layout: str = 'xy_yz_xz',
    aggregation: str = 'sum',
    density: HeadWeights | None = None,
    details: bool = False,
    window: tuple[int, int, int, int] | None = None,
) -> dict[str, Tensor] | tuple[dict[str, Tensor], dict[str, RayDetails]]:
    """Render task vectors with one straight ray per pixel of a grid.

    Supplement of Li et al., "Multi-Task Learning with 3D-Aware Regularization" (ICLR 2024).
    Every sample is read, sent through the MLPs and kept: the definition, for reading and for
    comparison; :func:`render_factorised` is the same function at a tenth of the cost.

    Args:
        planes (Tensor): ``(B, P, C, Hp, Wp)``.
        heads (Mapping): Task name to its MLP (see :data:`HeadWeights`).
        size (tuple[int, int]): Height and width (H, W) of the grid, R = H W rays.
        z (Tensor): Depths ``(S,)``, ``(B, S)`` or ``(B, R, S)``, ascending.
        rule (str): See :func:`composite`.
        closure (str | None): ``'none'`` or None: background 0. ``'normalize'``: divided by the
            opacity.
        padding (str): See :func:`sample_triplane`.
        layout (str): See :func:`sample_triplane`.
        aggregation (str): See :func:`sample_triplane`.
        density (HeadWeights | None): An MLP whose raw density all tasks share; None: each
            task has its own.
        details (bool): Whether to return weights, opacity and depth too.
        window (tuple | None): Top, left, height and width of the part of the grid to render;
            R are its rays. None: all of it.

    Returns:
        dict[str, Tensor]: Task name to ``(B, R, C_t)``; with ``details`` also task name to
        :class:`RayDetails`.

    Raises:
        ShapeError, ValueError: If something does not fit.
    """
    closure = closure or 'none'
    check_choice('closure', closure, CLOSURES)
    height, width = size if window is None else window[2:]
    batch, rays = planes.shape[0], height * width
    z = depths_per_ray(z.to(planes.dtype), batch, rays)
    points = ray_points(size, z, window)
    features = sample_triplane(planes, points, padding, layout, aggregation)
    features = features.unflatten(1, (rays, z.shape[-1]))
    outputs, known = {}, {}
    for name, head in heads.items():
        hidden = hidden_vectors(head, features, z)
        if density is None:
            sigma = hidden @ head['w3'] + head['b3']
        else:
            sigma = hidden_vectors(density, features, z) @ density['w3'] + density['b3']
        found = composite(sigma, z, rule)
        values = hidden @ head['w2'].mT + head['b2']
        integral = (found.sample_weights[..., None] * values).sum(dim=-2)
        outputs[name] = close(integral, found.opacity, closure)
        known[name] = RayDetails(z, *found)
    return (outputs, known) if details else outputs
