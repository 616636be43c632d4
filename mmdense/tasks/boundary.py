"""Boundaries."""

from __future__ import annotations

from typing import Any

from mmdense.registry import TASKS
from mmdense.utils.thinning import thin

from .base import Array
from .binary import BinaryTask


@TASKS.register_module()
class Boundary(BinaryTask):
    """Instance or annotation boundaries: probability per pixel; 255 unknown.

    Loss: binary cross-entropy that weighs the rare boundary pixels 0.8 (ATRC on
    NYUD-v2; 0.95 on PASCAL-Context). Map: sigmoid. Metric: odsF with the tolerance of
    NYUD-v2; ``metrics=[dict(type='BinaryFMetric', beta2=1.0)]`` gives the pixel-wise
    maxF without tolerance instead. Arguments as in :class:`BinaryTask`.
    """

    key = 'boundary'
    aliases = ('edge', 'edges', 'boundaries')
    field = 'boundary'
    headline = 'odsF'
    default_losses = (dict(type='BalancedBCELoss', positive_weight=0.8),)

    def default_metrics(self) -> list[dict[str, Any]]:
        return [dict(type='BoundaryMetric')]

    def outline(self, value: Array) -> Array:
        """Where the probability is at least one half, one pixel wide."""
        found: Array = thin((value >= 0.5) & self.valid(value)).astype(bool)
        return found
