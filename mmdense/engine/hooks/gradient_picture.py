"""The picture of :class:`.GradientDiagnosticsHook`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmdense.visualization.curves import running_mean


def draw_diagnostics(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw what was measured over the training.

    Four panels: cosine of every pair of tasks, share of the pairs in conflict, lengths of the
    gradients, and share of each task in the loss. Thin lines are the measurements, thick ones
    their running mean.

    Args:
        rows (Sequence[Mapping]): ``iter``, and the names of
            :class:`.GradientDiagnosticsHook`.
        path (Path): Where to write the PNG.

    Returns:
        Path: ``path``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 11), layout='constrained')
    cosines, conflicts, norms, shares = figure.subplots(4, 1, sharex=True)
    _lines(cosines, rows, 'cos_')
    cosines.axhline(0, color='0.4', linewidth=0.8)
    cosines.set(ylim=(-1.05, 1.05), ylabel='cosine', title='Angle between gradients of two tasks')
    _lines(conflicts, rows, 'conflicts')
    conflicts.set(
        ylim=(-0.05, 1.05), ylabel='share of pairs', title='Pairs in conflict (cosine < 0)'
    )
    _lines(norms, rows, 'norm_')
    norms.set(yscale='log', ylabel='length', title='Gradient on the shared parameters')
    _lines(shares, rows, 'share_')
    shares.set(ylim=(0, 1.02), ylabel='share', xlabel='iteration', title='Share of the loss')
    for axes in (cosines, norms, shares):
        if axes.lines and axes.get_legend_handles_labels()[1]:
            axes.legend(loc='center left', bbox_to_anchor=(1.01, 0.5), fontsize='small')
    for axes in (cosines, conflicts, norms, shares):
        axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def _lines(axes: Any, rows: Sequence[Mapping[str, Any]], prefix: str) -> None:
    names = sorted({name for row in rows for name in row if name.startswith(prefix)})
    for index, name in enumerate(names):
        points = [(row['iter'], row[name]) for row in rows if name in row]
        iterations, values = (np.array(column) for column in zip(*points))
        color = f'C{index % 10}'
        label = name.removeprefix(prefix).replace('_', ' - ') or None
        axes.plot(iterations, values, color=color, alpha=0.25, linewidth=0.8)
        axes.plot(iterations, running_mean(values), color=color, linewidth=1.8, label=label)
