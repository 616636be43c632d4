"""Curves over iterations, in panels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray

#: Measurements that a smoothed line averages over.
_WINDOW = 9
# Colour-blind safe (Okabe and Ito).
_COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
_STYLES = ('-', '--', ':', '-.')


class Line(NamedTuple):
    """A curve, or the mean of several with their range.

    Attributes:
        label: For the legend; '' for none.
        steps: ``(N,)`` iterations.
        values: ``(N,)``.
        low, high: ``(N,)``, the range; equal to ``values`` for a single curve.
        color, style: Which of the colours and of the styles of lines.
        smooth: Draw the values thin, and their running mean.
        markers: Mark the points.
    """

    label: str
    steps: Array
    values: Array
    low: Array
    high: Array
    color: int = 0
    style: int = 0
    smooth: bool = False
    markers: bool = False


class Panel(NamedTuple):
    """Lines on one pair of axes; without any an empty place of the grid.

    Attributes:
        title: Above the axes.
        lines: What is drawn.
        ylabel: Beside the axes.
        limits: Of the values, None for what the lines need.
        zero: Whether to draw a line at 0.
    """

    title: str
    lines: tuple[Line, ...] = ()
    ylabel: str = ''
    limits: tuple[float, float] | None = None
    zero: bool = False


def draw_panels(panels: Sequence[Panel], path: str | Path, columns: int = 2) -> Path:
    """Draw panels into a PNG, from left to right and top to bottom.

    Args:
        panels (Sequence[Panel]): At least one.
        path (str | Path): Of the picture.
        columns (int): Panels in a row.

    Returns:
        Path: ``path``.
    """
    from matplotlib.figure import Figure

    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(5.6 * columns, 2.7 * rows), dpi=110, layout='constrained')
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, panel in zip(grid, panels):
        if not panel.lines:
            axes.set_visible(False)
            continue
        for line in panel.lines:
            _draw_line(axes, line)
        axes.set_title(panel.title, fontsize=10)
        axes.set(xlabel='iteration', ylabel=panel.ylabel)
        if panel.limits is not None:
            axes.set_ylim(panel.limits)
        if panel.zero:
            axes.axhline(0, color='0.4', linewidth=0.8)
        if any(line.label for line in panel.lines):
            axes.legend(fontsize=7, framealpha=0.7)
        axes.grid(alpha=0.3)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _draw_line(axes: Any, line: Line) -> None:
    color = _COLORS[line.color % len(_COLORS)]
    style = _STYLES[line.style % len(_STYLES)]
    # A single point is no line: without a mark it would not be seen.
    mark = 'o' if line.markers or len(line.steps) == 1 else None
    values = line.values
    if line.smooth:
        axes.plot(line.steps, values, color=color, alpha=0.25, linewidth=0.8)
        values = running_mean(values)
    axes.plot(
        line.steps, values, color=color, linestyle=style, marker=mark, markersize=3.5,
        linewidth=1.6, label=line.label or None,
    )  # fmt: skip
    if not np.array_equal(line.low, line.high):
        axes.fill_between(line.steps, line.low, line.high, color=color, alpha=0.15, linewidth=0)


def running_mean(values: Array, window: int = _WINDOW) -> Array:
    """Mean over a window that shrinks at the ends, ``(N,)``."""
    half = min(window, len(values)) // 2
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)
