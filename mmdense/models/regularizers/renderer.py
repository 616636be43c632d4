"""Where rays are sampled, and which form of the render does it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmdense.models.layers import full_precision
from mmdense.registry import MODELS

from .field import TriplaneField, bins
from .functional import (
    RayDetails,
    importance_depths,
    plane_names,
    render_factorised,
    render_naive,
)
from .functional.factorised import IMPORTANCE, TABLE_DTYPES
from .functional.geometry import AGGREGATIONS, PADDINGS, check_choice
from .functional.integral import CLOSURES, RULES

JITTERS = ('per_image', 'per_ray', 'none')
BACKENDS = ('auto', 'factorised', 'naive')


class Rendering(NamedTuple):
    """Rendered maps.

    Attributes:
        maps (dict): Task to ``(B, C_t, H, W)``, raw.
        details (dict): Task to what is known of its rays, row-major over H and W; weights
            only on request.
    """

    maps: dict[str, Tensor]
    details: dict[str, RayDetails]


@MODELS.register_module()
class TriplaneRenderer(nn.Module):
    """Volume rendering of planes with rays straight along z. It has no parameters.

    While training, depths are drawn at random; in evaluation they are the middles of their
    bins. Everything is computed in float32, whatever autocast says.

    Args:
        coarse (int): Depths of the first pass, at least 2.
        fine (int): Depths of the second pass, drawn where the first found density; 0: none.
            The default splits the 128 of the paper in half.
        z_range (tuple[float, float]): Near and far in [-1, 1], without a unit; never metres.
        jitter (str): ``'per_image'``: rays of a picture share the depths of the first pass
            (cheap; each ray's own law is the same). ``'per_ray'``; ``'none'``: bin middles.
        importance (str): ``'per_task'`` or ``'shared'``
            (see :func:`~.functional.render_factorised`).
        rule (str): ``'midpoint'`` or ``'left_opaque'`` (see :func:`~.functional.composite`).
        closure (str): ``'none'`` or ``'normalize'``.
        padding (str): ``'border'`` or ``'zeros'``.
        plane_layout (str): Planes in order, joined by ``_``. ``'xy_xz_zx'`` reads the third
            plane at (z, x), the slip of the released triplane GAN.
        aggregation (str): ``'sum'`` or ``'mean'`` over the planes (the paper's text sums).
        backend (str): ``'auto'`` or ``'factorised'``; ``'naive'`` keeps every sample, for
            debugging.
        chunk_mib (float | None): Working memory of the factorised form; None: by the device.
        table_dtype (str): ``'fp32'`` or ``'fp16'`` for what it keeps.

    Raises:
        ValueError: If a number is out of range or a word unknown.
    """

    def __init__(
        self,
        coarse: int = 64,
        fine: int = 64,
        z_range: tuple[float, float] = (-1.0, 1.0),
        jitter: str = 'per_image',
        importance: str = 'per_task',
        rule: str = 'midpoint',
        closure: str = 'none',
        padding: str = 'border',
        plane_layout: str = 'xy_yz_xz',
        aggregation: str = 'sum',
        backend: str = 'auto',
        chunk_mib: float | None = None,
        table_dtype: str = 'fp32',
    ) -> None:
        super().__init__()
        if coarse < 2:
            raise ValueError(f'coarse is {coarse}; an interval needs at least 2 depths.')
        if fine < 0:
            raise ValueError(f'fine is {fine}; give 0 for no second pass, or a positive number.')
        near, far = z_range
        if not -1 <= near < far <= 1:
            raise ValueError(
                f'z_range is ({near}, {far}); need -1 <= near < far <= 1 (normalised, not metres).'
            )
        for name, value, choices in (
            ('jitter', jitter, JITTERS),
            ('importance', importance, IMPORTANCE),
            ('rule', rule, RULES),
            ('closure', closure, CLOSURES),
            ('padding', padding, PADDINGS),
            ('aggregation', aggregation, AGGREGATIONS),
            ('backend', backend, BACKENDS),
            ('table_dtype', table_dtype, TABLE_DTYPES),
        ):
            check_choice(name, value, choices)
        plane_names(plane_layout)
        self.coarse, self.fine, self.near, self.far = coarse, fine, near, far
        self.jitter, self.importance = jitter, importance
        self.backend, self.chunk_mib, self.table_dtype = backend, chunk_mib, table_dtype
        self.options = dict(
            rule=rule,
            closure=closure,
            padding=padding,
            layout=plane_layout,
            aggregation=aggregation,
        )

    def forward(
        self,
        planes: Tensor,
        field: TriplaneField,
        size: tuple[int, int],
        generator: torch.Generator | None = None,
        window: tuple[int, int, int, int] | None = None,
        details: bool = False,
    ) -> Rendering:
        """Render every task.

        Args:
            planes (Tensor): ``(B, P, C, Hp, Wp)``.
            field (TriplaneField): The MLPs.
            size (tuple[int, int]): Grid (H, W).
            generator (torch.Generator | None): Source of the depths; None: torch's own.
            window (tuple | None): Part of the grid (top, left, height, width) to render.
            details (bool): Whether to return weights too.
        """
        shape = size if window is None else window[2:]
        with full_precision(planes):
            planes = planes.float()
            rays = shape[0] * shape[1]
            z = self._depths(planes, rays, generator)
            u = self._draws(field, planes, rays, generator)
            if self.backend == 'naive':
                found = self._naive(planes, field, size, z, u, window)
            else:
                found = render_factorised(
                    planes, field.heads(), size, z, None, u, **self.options,
                    density=field.shared_density(), importance=self.importance,
                    chunk_mib=self.chunk_mib, table_dtype=self.table_dtype, window=window,
                    details='full' if details else 'rays',
                )  # fmt: skip
        values, known = found
        maps = {name: value.mT.unflatten(-1, shape) for name, value in values.items()}
        return Rendering(maps, known)

    def _depths(self, planes: Tensor, rays: int, generator: torch.Generator | None) -> Tensor:
        """Depths of the first pass."""
        if not self.training or self.jitter == 'none':
            return bins(self.coarse, self.near, self.far, planes.new_full((self.coarse,), 0.5))
        shape: tuple[int, ...] = (len(planes), self.coarse)
        if self.jitter == 'per_ray':
            shape = (len(planes), rays, self.coarse)
        draws = torch.rand(shape, device=planes.device, generator=generator)
        return bins(self.coarse, self.near, self.far, draws)

    def _draws(
        self, field: TriplaneField, planes: Tensor, rays: int, generator: torch.Generator | None
    ) -> dict[str, Tensor] | None:
        """Ascending numbers in [0, 1] for the second pass."""
        if not self.fine:
            return None
        found = {}
        shape = (len(planes), rays, self.fine)
        one = self.importance == 'shared' or field.density is not None
        draws = None
        for name in field.mlps:
            if draws is None or not one:
                draws = planes.new_full(shape, 0.5)
                if self.training and self.jitter != 'none':
                    draws = torch.rand(shape, device=planes.device, generator=generator)
                draws = bins(self.fine, 0.0, 1.0, draws)
            found[name] = draws
        return found

    def _naive(
        self,
        planes: Tensor,
        field: TriplaneField,
        size: tuple[int, int],
        z: Tensor,
        u: dict[str, Tensor] | None,
        window: tuple[int, int, int, int] | None,
    ) -> tuple[dict[str, Tensor], dict[str, RayDetails]]:
        """The same by :func:`render_naive`, one task at a time."""
        heads = field.heads()
        options: dict[str, Any] = dict(density=field.shared_density(), details=True, window=window)
        options.update(self.options)
        found: Any = render_naive(planes, heads, size, z, **options)
        values: dict[str, Tensor] = dict(found[0])
        known: dict[str, Any] = dict(found[1])
        if u is None:
            return values, known
        weights = {name: found.weights[..., : z.shape[-1] - 1] for name, found in known.items()}
        if self.importance == 'shared':
            mean = torch.stack(list(weights.values())).mean(0)
            weights = dict.fromkeys(weights, mean)
        for name, head in heads.items():
            first = known[name].z
            fine = importance_depths(first, weights[name], u[name])
            merged = torch.cat([first, fine], dim=-1).sort(dim=-1).values
            found = render_naive(planes, {name: head}, size, merged, **options)
            values[name], known[name] = (part[name] for part in found)
        return values, known
