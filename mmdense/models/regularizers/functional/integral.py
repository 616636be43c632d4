"""The integral along a ray: weights of its samples, and where to look more closely.

Depths are sorted ascending along the last dimension. Sums of many terms are cumulative sums
of optical depth and not products of (1 - alpha): the same value, stable, and with a
deterministic form.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .geometry import check_choice

RULES = ('midpoint', 'left_opaque')
CLOSURES = ('none', 'normalize')
# Smallest opacity that the expected depth and the closure divide by.
DEPTH_EPS = 1e-8
CLOSURE_EPS = 1e-6


class Composite(NamedTuple):
    """What the densities of a ray amount to.

    Attributes:
        weights (Tensor): Share of each interval in the integral, ``(..., S - 1)``;
            ``'left_opaque'``: of each sample, ``(..., S)``. Never negative.
        sample_weights (Tensor): Share of each sample, ``(..., S)``; sums to ``opacity``.
        opacity (Tensor): Sum of ``weights``, at most 1, ``(...)``.
        depth (Tensor): Expected depth given that the ray ends, ``(...)``.
    """

    weights: Tensor
    sample_weights: Tensor
    opacity: Tensor
    depth: Tensor


class Attenuation(NamedTuple):
    """Intermediate values of :func:`composite`, per interval ``(..., S - 1)``.

    Attributes:
        raw (Tensor): Argument of softplus.
        step (Tensor): Length of the interval.
        weights (Tensor): ``exp(-before) - exp(-after)``.
        after (Tensor): Share of light that leaves the interval, ``exp(-sum d)``.
    """

    raw: Tensor
    step: Tensor
    weights: Tensor
    after: Tensor


def composite(sigma: Tensor, z: Tensor, rule: str = 'midpoint') -> Composite:
    """Weights of the samples of a ray in its volume integral.

    ``'midpoint'`` averages the raw densities of neighbours, ``d_m = softplus((s_m + s_{m+1})/2
    - 1) (z_{m+1} - z_m)``, and gives each half of the interval's weight. ``'left_opaque'`` is
    the rule of NeRF: the density of the nearer sample, and a last sample that is opaque.

    Args:
        sigma (Tensor): Raw densities ``(..., S)``.
        z (Tensor): Depths ``(..., S)``, ascending; broadcast against ``sigma``.
        rule (str): ``'midpoint'`` or ``'left_opaque'``.

    Raises:
        ValueError: If ``rule`` is unknown.
    """
    check_choice('rule', rule, RULES)
    sigma, z = torch.broadcast_tensors(sigma, z)
    weights, shares = spread(attenuate(sigma, z, rule), rule)
    opacity = weights.sum(-1)
    depth = (weights * places_of(z, rule)).sum(-1) / opacity.clamp(min=DEPTH_EPS)
    depth = torch.minimum(torch.maximum(depth, z[..., 0]), z[..., -1])
    return Composite(weights, shares, opacity, depth)


def attenuate(sigma: Tensor, z: Tensor, rule: str) -> Attenuation:
    """Optical depth of the intervals and what it leaves of the light."""
    nearer, farther = sigma[..., :-1], sigma[..., 1:]
    # The shift keeps the first volumes thin.
    raw = (nearer if rule == 'left_opaque' else (nearer + farther) / 2) - 1
    step = z[..., 1:] - z[..., :-1]
    thickness = F.softplus(raw) * step
    total = inclusive_sum(thickness)
    before = torch.exp(thickness - total)
    # Never negative, and exact in thin volumes, where a difference of exponentials is not.
    weights = before * -torch.expm1(-thickness)
    return Attenuation(raw, step, weights, torch.exp(-total))


def spread(parts: Attenuation, rule: str) -> tuple[Tensor, Tensor]:
    """Weights as :func:`composite` gives them, and the shares of the samples."""
    if rule == 'left_opaque':
        weights = torch.cat([parts.weights, parts.after[..., -1:]], dim=-1)
        return weights, weights
    half = parts.weights / 2
    return parts.weights, F.pad(half, (0, 1)) + F.pad(half, (1, 0))


def places_of(z: Tensor, rule: str) -> Tensor:
    """The depth that each weight stands for."""
    return z if rule == 'left_opaque' else (z[..., :-1] + z[..., 1:]) / 2


def attenuate_backward(grad: Tensor, parts: Attenuation, rule: str) -> Tensor:
    """Gradient of the raw densities ``(..., S)``, given that of ``Composite.weights``.

    With ``T_{n+1}`` what leaves interval n, ``dL/dd_n = T_{n+1} g_n - sum_{m>n} g_m w_m``.
    """
    own = grad[..., : parts.weights.shape[-1]]
    scaled = own * parts.weights
    # Summed from the far end: total minus prefix would lose small terms behind large ones.
    later = inclusive_sum(scaled.flip(-1)).flip(-1) - scaled
    if rule == 'left_opaque':
        later = later + grad[..., -1:] * parts.after[..., -1:]
    of_raw = (parts.after * own - later) * parts.step * torch.sigmoid(parts.raw)
    if rule == 'left_opaque':
        return F.pad(of_raw, (0, 1))
    half = of_raw / 2
    return F.pad(half, (0, 1)) + F.pad(half, (1, 0))


def inclusive_sum(values: Tensor) -> Tensor:
    """Prefix sums along the last dimension.

    A floating-point ``cumsum`` on CUDA has no deterministic form; where deterministic
    algorithms are asked for, it is a product with a triangle of ones.
    """
    if torch.are_deterministic_algorithms_enabled():
        count = values.shape[-1]
        return values @ torch.ones(count, count, dtype=values.dtype, device=values.device).triu()
    return values.cumsum(-1)


@torch.no_grad()
def importance_depths(z: Tensor, weights: Tensor, u: Tensor, floor: float = 0.01) -> Tensor:
    """Depths drawn where a first pass found matter.

    The share of interval m is ``floor + (max(w_{m-1}, w_m) + max(w_m, w_{m+1})) / 2``, without
    the neighbours that do not exist, normalised; its piecewise constant distribution is
    inverted at ``u``. The bins are the depths of the first pass themselves (common released
    code mixes interval weights with bins between mid-points, which shifts by half an
    interval). No gradient.

    Args:
        z (Tensor): Depths ``(..., S)``, ascending; batch dimensions are broadcast.
        weights (Tensor): Interval weights ``(..., S - 1)``.
        u (Tensor): Numbers in [0, 1], ``(..., N)``; sorted ones give sorted depths.
        floor (float): What every interval gets.

    Returns:
        Tensor: ``(..., N)`` in [z_0, z_{S-1}].
    """
    between = torch.maximum(weights[..., :-1], weights[..., 1:])
    # At the ends the missing neighbour does not count: the maximum is the weight itself.
    left = torch.cat([weights[..., :1], between], dim=-1)
    right = torch.cat([between, weights[..., -1:]], dim=-1)
    share = floor + (left + right) / 2
    share = share / share.sum(-1, keepdim=True)
    batch = torch.broadcast_shapes(z.shape[:-1], share.shape[:-1], u.shape[:-1])
    z, share, u = (t.expand(*batch, t.shape[-1]) for t in (z, share, u))
    upper = inclusive_sum(share)
    interval = torch.searchsorted(upper, u.contiguous(), right=True).clamp(max=share.shape[-1] - 1)
    start, own = (upper - share).gather(-1, interval), share.gather(-1, interval)
    nearer, farther = z.gather(-1, interval), z.gather(-1, interval + 1)
    return torch.lerp(nearer, farther, ((u - start) / own).clamp(0, 1))
