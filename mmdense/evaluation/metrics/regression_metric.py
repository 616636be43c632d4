"""Scores of maps of plain numbers."""

from __future__ import annotations

import numpy as np

from mmdense.evaluation.counters import Counters
from mmdense.registry import METRICS

from .base import Array, DenseMetric, ratio


@METRICS.register_module()
class RegressionMetric(DenseMetric):
    """Mean absolute error and root mean square error, pooled over the pixels of all pictures.

    Channels count alike. Predictions are taken as decoded, clamped to the range of the task.

    Args:
        task, prefix: As in :class:`DenseMetric`.
    """

    default_task = dict(type='Keypoints2D')
    higher_is_better = dict(mae=False, rmse=False)

    @property
    def protocol(self) -> str:
        return 'pooled over pixels and channels'

    def update(self, pred: Array, gt: Array, valid: Array) -> Counters:
        error = pred[valid].astype(np.float64) - gt[valid].astype(np.float64)
        return dict(
            sums=np.asarray([np.abs(error).sum(), (error**2).sum()]),
            values=np.asarray(error.size),
        )

    def compute(self, counters: Counters) -> dict[str, float]:
        count = int(counters['values'])
        absolute, squared = (ratio(value, count) for value in counters['sums'])
        return dict(mae=absolute, rmse=float(np.sqrt(squared)))
