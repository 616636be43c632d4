"""Scores of metric depth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmdense.evaluation.counters import Counters
from mmdense.registry import METRICS
from mmdense.tasks import BaseTask

from .base import Array, DenseMetric, ratio

# Rows 45:471 and columns 41:601 of a 480x640 picture (Eigen et al.), as fractions.
EIGEN_CROP = (45 / 480, 471 / 480, 41 / 640, 601 / 640)
_NAMES = ('rmse', 'rmse_log', 'abs_rel', 'sq_rel', 'abs_err', 'log10', 'silog', 'd1', 'd2', 'd3')


def depth_sums(pred: Array, gt: Array) -> Array:
    """Sums over pixels that all depth scores are made of, float64.

    Args:
        pred (Array): Predicted metres ``(N,)``, > 0.
        gt (Array): True metres ``(N,)``, > 0.

    Returns:
        Array: ``(10,)``: sums of squared error, squared log error, relative error,
        squared relative error, absolute error, absolute log10 error, log error, and the
        number of pixels with a ratio below 1.25, 1.25^2, 1.25^3.
    """
    pred, gt = pred.astype(np.float64), gt.astype(np.float64)
    error = pred - gt
    log_error = np.log(pred) - np.log(gt)
    worst = np.exp(np.abs(log_error))
    return np.asarray([
        (error**2).sum(), (log_error**2).sum(), (np.abs(error) / gt).sum(), (error**2 / gt).sum(),
        np.abs(error).sum(), (np.abs(log_error) / np.log(10)).sum(), log_error.sum(),
        *((worst < 1.25**k).sum() for k in (1, 2, 3)),
    ])  # fmt: skip


def depth_scores(sums: Array, count: float) -> dict[str, float]:
    """The scores of :class:`DepthMetric` from :func:`depth_sums` over ``count`` pixels."""
    mean = [ratio(value, count) for value in sums]
    variance = max(mean[1] - mean[6] ** 2, 0.0) if count else np.nan
    return dict(
        rmse=np.sqrt(mean[0]),
        rmse_log=np.sqrt(mean[1]),
        abs_rel=mean[2],
        sq_rel=mean[3],
        abs_err=mean[4],
        log10=mean[5],
        silog=100 * np.sqrt(variance),
        d1=mean[7],
        d2=mean[8],
        d3=mean[9],
    )


@METRICS.register_module()
class DepthMetric(DenseMetric):
    """RMSE and the other usual scores of depth in metres.

    ``rmse``, ``rmse_log`` (natural log), ``abs_rel``, ``sq_rel`` (squared error over
    true depth), ``abs_err``, ``log10``, ``silog`` (100 times the standard deviation of
    the log error) and the shares ``d1``, ``d2``, ``d3`` of pixels with
    ``max(d/g, g/d) < 1.25^k``. Predictions are clamped to the range first.

    Args:
        min_depth (float): Pixels count if the true depth is above this, metres.
        max_depth (float): ... and below this.
        average (str): ``'pixel'``: pooled over the pixels of all pictures (ASTMT,
            MTI-Net, ATRC, InvPT, DeMT). ``'image'``: scores per picture, averaged (the
            monocular-depth literature).
        crop (str | None): ``'eigen'`` scores the Eigen crop only.
        task, prefix: As in :class:`DenseMetric`.

    Raises:
        ValueError: If the range is empty or an option is unknown.
    """

    default_task = dict(type='Depth')
    higher_is_better = dict(dict.fromkeys(_NAMES, False), d1=True, d2=True, d3=True)
    percent = frozenset(('d1', 'd2', 'd3'))
    unit = dict(rmse='m', abs_err='m', sq_rel='m')

    def __init__(
        self,
        min_depth: float = 1e-3,
        max_depth: float = 10.0,
        average: str = 'pixel',
        crop: str | None = None,
        task: BaseTask | Mapping[str, Any] | None = None,
        prefix: str | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(task, prefix, collect_device)
        if not 0 <= min_depth < max_depth:
            raise ValueError(
                f'DepthMetric: min_depth={min_depth}, max_depth={max_depth} is an empty or '
                'negative range; need 0 <= min_depth < max_depth in metres.'
            )
        if average not in ('pixel', 'image'):
            raise ValueError(f"DepthMetric.average is {average!r}; choose 'pixel' or 'image'.")
        if crop not in (None, 'eigen'):
            raise ValueError(f"DepthMetric.crop is {crop!r}; choose None or 'eigen'.")
        self.min_depth, self.max_depth = min_depth, max_depth
        self.average, self.crop = average, crop

    @property
    def protocol(self) -> str:
        how = 'pooled over pixels' if self.average == 'pixel' else 'per picture, averaged'
        crop = 'Eigen crop' if self.crop else 'no crop'
        return f'{how}, {self.min_depth:g} < gt < {self.max_depth:g} m, {crop}'

    def update(self, pred: Array, gt: Array, valid: Array) -> Counters:
        counted = valid & (gt > self.min_depth) & (gt < self.max_depth)
        if self.crop:
            height, width = gt.shape
            top, bottom, left, right = np.rint(
                np.asarray(EIGEN_CROP) * (height, height, width, width)
            ).astype(int)
            inside = np.zeros_like(counted)
            inside[top:bottom, left:right] = True
            counted &= inside
        count = int(counted.sum())
        # 1e-3 m keeps the logarithms finite where the range starts at 0.
        guess = np.clip(pred[counted], max(self.min_depth, 1e-3), self.max_depth)
        sums = depth_sums(guess, gt[counted])
        if self.average == 'pixel':
            return dict(sums=sums, pixels=np.asarray(count))
        scores = depth_scores(sums, count)
        row = np.asarray([scores[name] if count else 0.0 for name in _NAMES])
        return dict(scores=row, pictures=np.asarray(int(count > 0)))

    def compute(self, counters: Counters) -> dict[str, float]:
        if self.average == 'pixel':
            return depth_scores(counters['sums'], int(counters['pixels']))
        pictures = int(counters['pictures'])
        return {name: ratio(value, pictures) for name, value in zip(_NAMES, counters['scores'])}
