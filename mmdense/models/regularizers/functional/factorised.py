"""Volume rendering of planes along straight rays at a tenth of the cost."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mmdense.utils import ShapeError

from .geometry import check_choice, check_planes
from .integral import CLOSURES, RULES, composite, importance_depths
from .naive import HeadWeights, RayDetails, close
from .ray_integral import RayIntegral, integrate
from .ray_kernel import RaySpec
from .tables import RayTables, Window, build_tables

IMPORTANCE = ('per_task', 'shared')
TABLE_DTYPES = ('fp32', 'fp16')


@torch.compiler.disable
def render_factorised(
    planes: Tensor,
    heads: Mapping[str, HeadWeights],
    size: tuple[int, int],
    coarse_z: Tensor,
    fine: int | None = None,
    u: Mapping[str, Tensor] | Tensor | None = None,
    rule: str = 'midpoint',
    closure: str | None = 'none',
    padding: str = 'border',
    layout: str = 'xy_yz_xz',
    aggregation: str = 'sum',
    density: HeadWeights | None = None,
    importance: str = 'per_task',
    floor: float = 0.01,
    chunk_mib: float | None = None,
    table_dtype: str = 'fp32',
    window: tuple[int, int, int, int] | None = None,
    details: bool | str = False,
) -> dict[str, Tensor] | tuple[dict[str, Tensor], dict[str, RayDetails]]:
    """The function of :func:`render_naive` by exact identities.

    Reading is linear, so the first layers are applied to cells and not to samples; rays are
    straight, so a sample is the sum of one vector of its ray and one or two lines of cells;
    the integral is linear, so the last layers are applied to rays; passes are merged by
    sorting scalars; and hidden vectors are made again for the backward pass.

    Args:
        planes (Tensor): ``(B, P, C, Hp, Wp)``, float32 or wider.
        heads (Mapping): Task name to its MLP (see :data:`~.naive.HeadWeights`).
        size (tuple[int, int]): Height and width (H, W) of the grid, R = H W rays.
        coarse_z (Tensor): Depths of the first pass, ascending: ``(S_c,)`` or ``(B, S_c)``,
            shared by the rays of a picture (cheap), or ``(B, R, S_c)``.
        fine (int | None): Depths S_f of the second pass, drawn by
            :func:`importance_depths`. None: as many as ``u`` has, or no second pass.
        u (Mapping | Tensor | None): Numbers in [0, 1] to draw them with, task name to
            ``(B, R, S_f)``, or one tensor for all. None: ``(i + 0.5) / S_f``.
        rule (str): As in :func:`render_naive`.
        closure (str | None): As in :func:`render_naive`.
        padding (str): As in :func:`render_naive`.
        layout (str): As in :func:`render_naive`.
        aggregation (str): As in :func:`render_naive`.
        density (HeadWeights | None): As in :func:`render_naive`.
        importance (str): ``'per_task'``: each task draws from its own weights.
            ``'shared'``: one set from the mean of them.
        floor (float): See :func:`importance_depths`.
        chunk_mib (float | None): Working memory of a chunk in MiB. None: by the device.
        table_dtype (str): ``'fp16'`` keeps tables in half precision, an error of 2e-4 to
            4e-4 of the maximum; arithmetic stays in that of ``planes``.
        window (tuple | None): Top, left, height and width of the part of the grid to render;
            R are its rays. None: all of it.
        details (bool | str): Whether to return depths, weights, opacity and expected depth
            too. ``'rays'``: the last two only, which costs nothing.

    Returns:
        dict[str, Tensor]: Task name to ``(B, R, C_t)``; with ``details`` also task name to
        :class:`~.naive.RayDetails`, whose depths are those of both passes, sorted.

    Raises:
        ShapeError, ValueError: If something does not fit.
    """
    names = check_planes(planes, layout, padding, aggregation)
    check_choice('rule', rule, RULES)
    closure = closure or 'none'
    check_choice('closure', closure, CLOSURES)
    check_choice('importance', importance, IMPORTANCE)
    check_choice('table_dtype', table_dtype, TABLE_DTYPES)
    scale = 1 / len(names) if aggregation == 'mean' else 1.0
    part = Window.of(size, window)
    tables = _tables(planes, heads, density, names, part, padding, scale)
    rays = _Rays(heads, density, tables, planes.shape[0], part.shape)
    full = details is True or details == 'full'
    spec = RaySpec(
        rule=rule, padding=padding, lines=tuple(tables.lines), shared=density is not None,
        draw=False, floor=floor, keep_sigma=full, chunk_mib=chunk_mib,
        half_tables=table_dtype == 'fp16',
    )  # fmt: skip
    coarse_z = coarse_z.to(planes.dtype)
    draws = rays.draws(fine, u, planes)
    found = rays.integrate(spec, coarse_z, draws, importance)
    return rays.finish(found, closure, rule, bool(details), full)


def _tables(
    planes: Tensor,
    heads: Mapping[str, HeadWeights],
    density: HeadWeights | None,
    names: tuple[str, ...],
    window: Window,
    padding: str,
    scale: float,
) -> RayTables:
    layers = [*heads.values(), *(() if density is None else (density,))]
    depth_weight = torch.stack([head['wz'] for head in layers]) if 'wz' in layers[0] else None
    return build_tables(
        planes,
        names,
        torch.stack([head['w1'] for head in layers]) * scale,
        torch.stack([head['b1'] for head in layers]),
        window,
        padding,
        depth_weight,
    )


class _Rays:
    """The rays of a batch in groups of one density each: picture by task, or picture."""

    def __init__(
        self,
        heads: Mapping[str, HeadWeights],
        density: HeadWeights | None,
        tables: RayTables,
        batch: int,
        size: tuple[int, int],
    ) -> None:
        self.heads, self.tables, self.batch, self.size = heads, tables, batch, size
        self.shared = density is not None
        scored = list(heads.values()) if density is None else [density]
        self.groups = len(scored)
        self.w3 = torch.stack([head['w3'] for head in scored]).repeat(batch, 1)
        self.b3 = torch.stack([head['b3'].reshape(()) for head in scored]).repeat(batch)

    def grouped(self, values: Tensor | None) -> Tensor | None:
        """``(B, G, ...)`` to ``(D, V, ...)``."""
        if values is None:
            return None
        if self.shared:
            return values
        return values.flatten(0, 1)[:, None]

    def draws(
        self, fine: int | None, u: Mapping[str, Tensor] | Tensor | None, like: Tensor
    ) -> Tensor | None:
        """Numbers for the second pass, ``(B, tasks or 1, R, S_f)``, or None without one."""
        rays = self.size[0] * self.size[1]
        if u is None:
            if not fine:
                return None
            middle = (torch.arange(fine, dtype=like.dtype, device=like.device) + 0.5) / fine
            return middle.expand(self.batch, 1, rays, fine)
        given = [u] if isinstance(u, Tensor) else [u[name] for name in self.heads]
        shape = (self.batch, rays, fine or given[0].shape[-1])
        for value in given:
            if tuple(value.shape) != shape:
                raise ShapeError(
                    f'u has shape {tuple(value.shape)} for {self.batch} pictures of {rays} rays '
                    f'and fine={fine}; give {shape}.'
                )
        return torch.stack(given, dim=1).to(like.dtype)

    def integrate(
        self, spec: RaySpec, coarse: Tensor, draws: Tensor | None, importance: str
    ) -> RayIntegral:
        """Both passes; the order of groups is that of :meth:`grouped`."""
        per_ray = coarse.ndim == 3
        if draws is None:
            return self._pass(spec, *((None, coarse) if per_ray else (coarse, None)))
        one_set = self.shared or importance == 'shared'
        if not per_ray and (self.shared or not one_set):
            return self._pass(spec, coarse, self._fine(draws), draw=True)
        fine = self._drawn(spec, coarse, draws, one_set and not self.shared)
        if per_ray:
            spread = self._fine(coarse[:, None])
            return self._pass(spec, None, torch.cat([spread, fine], dim=-1))
        return self._pass(spec, coarse, fine)

    @torch.no_grad()
    def _drawn(self, spec: RaySpec, coarse: Tensor, draws: Tensor, mean: bool) -> Tensor:
        """Depths ``(D, H, W, S_f)`` of the second pass, by a first one of its own."""
        asked = RaySpec(**{**vars(spec), 'keep_sigma': True})
        first = self._pass(asked, *((None, coarse) if coarse.ndim == 3 else (coarse, None)))
        weights = composite(first.sigma, first.z, spec.rule).weights
        weights = weights[..., : first.z.shape[-1] - 1].unflatten(0, (self.batch, -1))
        z = first.z.unflatten(0, (self.batch, -1))
        u = (draws[:, :1] if mean or self.shared else draws).unflatten(2, self.size)
        if mean:
            weights, z = weights.mean(1, keepdim=True), z[:, :1]
        found = importance_depths(z, weights, u.expand(*weights.shape[:-1], -1), spec.floor)
        return found.expand(-1, self.groups, -1, -1, -1).flatten(0, 1)

    def _fine(self, values: Tensor) -> Tensor:
        """``(B, tasks or 1, R, S)`` to ``(D, H, W, S)``."""
        if self.shared:
            values = values[:, :1]
        values = values.expand(-1, self.groups, -1, -1)
        return values.flatten(0, 1).unflatten(1, self.size)

    def _pass(
        self, spec: RaySpec, shared: Tensor | None, fine: Tensor | None, draw: bool = False
    ) -> RayIntegral:
        """One call of the integral, at depths that rays share, at their own, or at both."""
        tables, (height, width) = self.tables, self.size
        rays = self.grouped(tables.rays)
        assert rays is not None
        if fine is not None and fine.ndim == 3:
            fine = self._fine(fine[:, None])
        columns = rows = None
        coarse = rays.new_empty(len(rays), 0)
        if shared is not None:
            each = shared.expand(self.batch, shared.shape[-1])
            columns = self.grouped(tables.along('x', each, spec.padding, width))
            rows = self.grouped(tables.along('y', each, spec.padding, height))
            coarse = each.repeat_interleave(self.groups, dim=0)
        has_table = fine is not None and bool(tables.lines)
        table = self.grouped(tables.joined()) if has_table else None
        spec = RaySpec(**{**vars(spec), 'draw': draw})
        return integrate(spec, coarse, fine, rays, columns, rows, table, self.w3, self.b3)

    def finish(
        self, found: RayIntegral, closure: str, rule: str, details: bool, full: bool
    ) -> dict[str, Tensor] | tuple[dict[str, Tensor], dict[str, RayDetails]]:
        """Last layers, once per ray."""
        hidden = found.hidden.reshape(self.batch, len(self.heads), -1, found.hidden.shape[-1])
        opacity = found.opacity.reshape(self.batch, self.groups, -1)
        depth = found.depth.reshape(self.batch, self.groups, -1)
        outputs, known = {}, {}
        for index, (name, head) in enumerate(self.heads.items()):
            group = 0 if self.shared else index
            through = opacity[:, group]
            values = hidden[:, index] @ head['w2'].mT + through[..., None] * head['b2']
            outputs[name] = close(values, through, closure)
            known[name] = RayDetails(None, None, None, through, depth[:, group])
            if full:
                z, sigma = (
                    t.reshape(self.batch, self.groups, -1, t.shape[-1])[:, group]
                    for t in (found.z, found.sigma)
                )
                parts = composite(sigma, z, rule)
                known[name] = RayDetails(
                    z, parts.weights, parts.sample_weights, through, depth[:, group]
                )
        return (outputs, known) if details else outputs
