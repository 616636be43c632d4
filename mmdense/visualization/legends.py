"""Legends: what the colours of a map stand for, drawn beneath it or beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmdense.tasks import BaseTask

from .panels import error_colors, text_width, write_text

Array = np.ndarray

_LINE = 16
_BAR = 12
_MARGIN = 4


def draw_legend(
    task: BaseTask, maps: Sequence[Array], reference: Array | None, width: int
) -> Array | None:
    """The legend of a task, ``(h, width, 3)``; None where the task has none.

    Args:
        task (BaseTask): The task.
        maps (Sequence[Array]): The maps that it explains.
        reference (Array | None): What set their colours, as in ``task.colorize``.
        width (int): Of the result; its height follows.
    """
    legend = task.legend(maps, reference)
    if legend is None or not legend.labels:
        return None
    colors = task.colorize(legend.values, reference)[0]
    if legend.layout == 'scale':
        return draw_bar(colors, legend.labels[0], legend.labels[-1], width)
    return draw_swatches(colors, legend.labels, width)


def draw_error_legend(task: BaseTask, limit: float, width: int) -> Array:
    """The legend of an error map whose darkest colour is ``limit``, ``(h, width, 3)``."""
    high = task.describe_error(limit)
    text = high if limit == 1.0 else f'{high} or more'
    return draw_bar(error_colors(), task.describe_error(0.0), text, width)


def draw_bar(colors: Array, low: str, high: str, width: int) -> Array:
    """Colours ``(N, 3)`` from left to right, with what stands at both ends."""
    canvas = np.full((_BAR + _LINE + _MARGIN, width, 3), 255, np.uint8)
    steps = (np.arange(width - 2) * len(colors)) // max(width - 2, 1)
    canvas[1 : 1 + _BAR, 1:-1] = colors[steps]
    half = width // 2
    write_text(canvas[_BAR + 1 :, :half], low)
    write_text(canvas[_BAR + 1 :, half:], high, right=True)
    return canvas


def draw_swatches(colors: Array, labels: Sequence[str], width: int) -> Array:
    """A square of every colour ``(K, 3)`` with its name, in as many columns as fit."""
    need = _LINE + 6 + max(map(text_width, labels))
    columns = min(max(width // need, 1), len(labels))
    lines = -(-len(labels) // columns)
    canvas = np.full((lines * _LINE + _MARGIN, width, 3), 255, np.uint8)
    each = width // columns
    for index, (color, label) in enumerate(zip(colors, labels)):
        # Down the columns, as lists are read.
        column, line = divmod(index, lines)
        y, x = line * _LINE + 2, column * each
        square = canvas[y : y + _LINE - 3, x + 1 : x + _LINE - 2]
        square[:] = 128
        square[1:-1, 1:-1] = color
        write_text(canvas[line * _LINE : (line + 1) * _LINE, x + _LINE : x + each - 2], label)
    return canvas


__all__ = ['draw_bar', 'draw_error_legend', 'draw_legend', 'draw_swatches']
