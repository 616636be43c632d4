"""Scores of surface normals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdense.evaluation.counters import Counters
from mmdense.registry import METRICS
from mmdense.tasks import BaseTask

from .base import Array, DenseMetric, ratio

BINS_PER_DEGREE = 100


def angular_error(pred: Array, gt: Array) -> Array:
    """Angle between vectors in degrees, float64.

    ``2 atan2(|u - v|, |u + v|)`` of the normalised vectors, which keeps its accuracy
    near 0 where the arc cosine loses it. A zero prediction is 90 degrees off.

    Args:
        pred (Array): ``(N, 3)``, any length.
        gt (Array): ``(N, 3)``, not zero.

    Example:
        >>> angular_error(np.array([[0.0, 2, 0]]), np.array([[1.0, 0, 0]])).round(6)
        array([90.])
    """
    pred, gt = pred.astype(np.float64), gt.astype(np.float64)
    length = np.linalg.norm(pred, axis=-1, keepdims=True)
    u = np.divide(pred, length, out=np.zeros_like(pred), where=length > 0)
    v = gt / np.linalg.norm(gt, axis=-1, keepdims=True)
    return np.degrees(
        2 * np.arctan2(np.linalg.norm(u - v, axis=-1), np.linalg.norm(u + v, axis=-1))
    )


@METRICS.register_module()
class NormalMetric(DenseMetric):
    """Angular error of surface normals in degrees, pooled over the pixels of all pictures.

    ``mean``, ``median``, ``rmse`` and the shares of pixels below each threshold
    (strict). The median comes from a histogram with bins of 0.01 degrees and is the
    middle of its bin, so exact to 0.005 degrees.

    Args:
        thresholds (Sequence[float]): Degrees.
        task, prefix: As in :class:`DenseMetric`.
    """

    default_task = dict(type='Normal')

    def __init__(
        self,
        thresholds: Sequence[float] = (11.25, 22.5, 30.0),
        task: BaseTask | Mapping[str, Any] | None = None,
        prefix: str | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(task, prefix, collect_device)
        self.thresholds = tuple(thresholds)
        shares = [f'{t:g}' for t in self.thresholds]
        self.higher_is_better = dict(
            dict(mean=False, median=False, rmse=False), **dict.fromkeys(shares, True)
        )
        self.percent = frozenset(shares)
        self.unit = dict(mean='deg', median='deg', rmse='deg')

    @property
    def protocol(self) -> str:
        return 'pooled over pixels'

    def update(self, pred: Array, gt: Array, valid: Array) -> Counters:
        error = angular_error(pred[valid], gt[valid])
        bins = np.minimum(error * BINS_PER_DEGREE, 180 * BINS_PER_DEGREE - 1).astype(np.int64)
        return dict(
            sums=np.asarray([error.sum(), (error**2).sum()]),
            below=np.asarray([(error < t).sum() for t in self.thresholds]),
            histogram=np.bincount(bins, minlength=180 * BINS_PER_DEGREE),
        )

    def compute(self, counters: Counters) -> dict[str, float]:
        histogram = counters['histogram']
        count = int(histogram.sum())
        median = np.nan
        if count:
            middle = int(np.searchsorted(np.cumsum(histogram), (count + 1) // 2))
            median = (middle + 0.5) / BINS_PER_DEGREE
        total, squares = counters['sums']
        values = dict(mean=ratio(total, count), median=median, rmse=np.sqrt(ratio(squares, count)))
        for threshold, below in zip(self.thresholds, counters['below']):
            values[f'{threshold:g}'] = ratio(below, count)
        return values
