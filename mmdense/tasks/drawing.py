"""What tasks tell a visualiser besides colours: legends and outlines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Legend:
    """A little map of sample values, and what to write beside them.

    It holds no colours: ``task.colorize(legend.values, reference)`` gives those of the map that
    it explains, so the two cannot differ.

    Attributes:
        values: ``(1, N)`` or ``(1, N, D)``, a map of the task.
        labels: ``'swatches'``: N names. ``'scale'``: what stands at the left end and at the right
            end of a bar.
        layout: ``'swatches'`` or ``'scale'``.
    """

    values: Array
    labels: tuple[str, ...]
    layout: str = 'swatches'


def scale_legend(low: float, high: float, labels: Sequence[str], steps: int = 256) -> Legend:
    """A bar from ``low`` to ``high``."""
    values = np.linspace(low, high, steps, dtype=np.float32)[None]
    return Legend(values, tuple(labels), 'scale')


def class_names(metainfo: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Task key to the class names that a data set gives (``metainfo`` of a data set)."""
    found = {key: tuple(names) for key, names in metainfo.get('task_classes', {}).items()}
    if metainfo.get('classes'):
        found['semseg'] = tuple(metainfo['classes'])
    return found


def label_edges(labels: Array, known: Array) -> Array:
    """Pixels whose right or lower neighbour has another label, both known, ``(H, W)`` bool."""
    edges = np.zeros(labels.shape, bool)
    edges[:, :-1] |= (labels[:, :-1] != labels[:, 1:]) & known[:, :-1] & known[:, 1:]
    edges[:-1] |= (labels[:-1] != labels[1:]) & known[:-1] & known[1:]
    return edges
