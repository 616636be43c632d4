"""Scores of probability maps: saliency, and boundaries pixel by pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdense.evaluation.counters import Counters
from mmdense.registry import METRICS
from mmdense.tasks import BaseTask

from .base import Array, DenseMetric


@METRICS.register_module()
class BinaryFMetric(DenseMetric):
    """Maximal F-measure over thresholds, pixel counts pooled over all pictures.

    ``F = (1 + beta2) P R / (beta2 P + R)`` where a pixel is positive if
    ``probability >= threshold``. With ``beta2=0.3`` and 19 thresholds this is the
    saliency score of ATRC, MQTransformer and DeMT. For boundaries it is a pixel-wise
    score without tolerance, not odsF.

    Args:
        beta2 (float): Weight of recall, squared.
        thresholds (Sequence[float] | None): None: 0.05, 0.10 .. 0.95.
        task, prefix: As in :class:`DenseMetric`.
    """

    default_task = dict(type='Saliency')
    higher_is_better = dict(maxF=True, precision=True, recall=True)
    percent = frozenset(('maxF', 'precision', 'recall'))

    def __init__(
        self,
        beta2: float = 0.3,
        thresholds: Sequence[float] | None = None,
        task: BaseTask | Mapping[str, Any] | None = None,
        prefix: str | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(task, prefix, collect_device)
        self.beta2 = beta2
        # k / 20 rather than a running sum, so that 0.15 is the float nearest to 0.15.
        self.thresholds = np.asarray(
            [k / 20 for k in range(1, 20)] if thresholds is None else thresholds, np.float64
        )

    @property
    def protocol(self) -> str:
        return (
            f'pixel counts pooled, beta2={self.beta2:g}, {len(self.thresholds)} thresholds '
            f'{self.thresholds[0]:g}..{self.thresholds[-1]:g}, no tolerance'
        )

    def update(self, pred: Array, gt: Array, valid: Array) -> Counters:
        truth = gt[valid] == 1
        # Number of thresholds that each pixel reaches; one histogram serves them all.
        level = np.searchsorted(self.thresholds, pred[valid].astype(np.float64), side='right')
        bins = len(self.thresholds) + 1
        positive = np.bincount(level, minlength=bins)
        hits = np.bincount(level[truth], minlength=bins)
        reached = [counts[::-1].cumsum()[::-1][1:] for counts in (hits, positive)]
        return dict(hits=reached[0], positive=reached[1], actual=np.asarray(int(truth.sum())))

    def compute(self, counters: Counters) -> dict[str, float]:
        hits = counters['hits'].astype(np.float64)
        actual = float(counters['actual'])
        positive = counters['positive']
        precision = np.divide(hits, positive, out=np.zeros_like(hits), where=positive > 0)
        recall = hits / actual if actual else np.zeros_like(hits)
        weight = self.beta2 * precision + recall
        f = np.divide(
            (1 + self.beta2) * precision * recall, weight, out=np.zeros_like(hits), where=weight > 0
        )
        best = int(f.argmax())
        return dict(maxF=f[best], precision=precision[best], recall=recall[best])
