"""A table of a report as a picture."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

from mmdense.utils import require

from .report_tables import Row, Table

# Colour-blind safe (Okabe and Ito), one per row.
_COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')


def draw_table(table: Table) -> bytes:
    """One panel per number of the table, and one for Delta_m.

    Every seed is a point, the bar around the mean the standard deviation; the reference is a
    dashed line. Rows keep their colour over the panels.

    Returns:
        bytes: A PNG.

    Raises:
        MissingDependencyError: If matplotlib does not load.
    """
    require('matplotlib', 'The picture of a report', 'pip install matplotlib')
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in table.rows if not _is_reference(table, row)]
    base = next((row for row in table.rows if _is_reference(table, row)), None)
    gains = [row for row in rows if row.gains]
    panels = len(table.columns) + bool(gains)
    columns = min(panels, 4)
    lines = math.ceil(panels / columns)
    legend = 0.18 * (len(rows) + bool(base)) + 0.15
    height = 2.6 * lines + legend
    figure = Figure(figsize=(3.0 * columns, height), dpi=110)
    FigureCanvasAgg(figure)
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, name in zip(grid, table.columns):
        _draw_metric(axes, table, name, rows, base)
    if gains:
        _draw_gain(grid[len(table.columns)], rows)
    for axes in grid[panels:]:
        axes.set_visible(False)
    handles, labels = [], []
    for axes in grid[:panels]:
        for handle, label in zip(*axes.get_legend_handles_labels()):
            if label not in labels:
                handles.append(handle)
                labels.append(label)
    figure.legend(handles, labels, loc='lower left', fontsize=8, frameon=False, ncols=1)
    figure.suptitle(table.title, fontsize=10)
    figure.tight_layout(rect=(0, legend / height, 1, 1))
    out = io.BytesIO()
    figure.savefig(out, format='png')
    return out.getvalue()


def _is_reference(table: Table, row: Row) -> bool:
    return bool(table.reference) and row.name == table.reference and not row.gains


def _draw_metric(axes: Any, table: Table, name: str, rows: list[Row], base: Row | None) -> None:
    scale = 100 if table.details[name].get('percent') else 1
    for place, row in enumerate(rows):
        if name in row.stats:
            _draw_stat(axes, place, row, row.stats[name], scale)
    if base is not None and name in base.stats:
        label = f'{base.name} (reference)'
        axes.axhline(scale * base.stats[name].mean, color='0.4', ls='--', lw=1, label=label)
    axes.set_title(table.heading(name), fontsize=9)
    _tidy(axes, len(rows))


def _draw_stat(axes: Any, place: int, row: Row, stat: Any, scale: float) -> None:
    colour = _COLOURS[place % len(_COLOURS)]
    values = np.asarray(stat.values) * scale
    # Beside the bar and beside each other, so that all can be seen.
    spread = np.linspace(-0.34, -0.22, len(values)) if len(values) > 1 else -0.28
    axes.plot(
        np.broadcast_to(place + spread, values.shape),
        values,
        'o',
        ms=3.5,
        color=colour,
        alpha=0.5,
        mew=0,
    )
    error = None if math.isnan(stat.std) else scale * stat.std
    axes.errorbar(
        [place], [scale * stat.mean], yerr=error, fmt='_', ms=16, mew=2, capsize=5, color=colour,
        label=f'{row.name}, n = {row.seeds}',
    )  # fmt: skip


def _draw_gain(axes: Any, rows: list[Row]) -> None:
    for place, row in enumerate(rows):
        stat = row.gains.get('mean')
        if stat is None or math.isnan(stat.mean):
            continue
        error = None if math.isnan(stat.std) else stat.std
        axes.bar(
            [place], [stat.mean], yerr=error, capsize=5, width=0.6,
            color=_COLOURS[place % len(_COLOURS)], alpha=0.75,
        )  # fmt: skip
    axes.axhline(0, color='0.4', ls='--', lw=1)
    axes.set_title('Delta_m [%] ↑', fontsize=9)
    _tidy(axes, len(rows))


def _tidy(axes: Any, count: int) -> None:
    axes.set_xlim(-0.6, count - 0.4)
    axes.set_xticks([])
    axes.margins(y=0.2)
    axes.tick_params(labelsize=8)
    axes.grid(axis='y', alpha=0.3)
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)
