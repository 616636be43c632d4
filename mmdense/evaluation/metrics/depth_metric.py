"""Scores of depth, in metres or one of the inverse quantities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmdense.evaluation.counters import Counters
from mmdense.registry import METRICS
from mmdense.tasks import BaseTask

from .base import PUBLISHED_UNKNOWN, Array, DenseMetric, ratio, require_choice

#: Rows 45..470 and columns 41..600 (both ends included) of a 480x640 picture, as fractions.
EIGEN_CROP = (45 / 480, 471 / 480, 41 / 640, 601 / 640)
#: The multi-task release of NYUD-v2 is this crop already, but for one row.
_CROPPED_SIZE = (425, 560)
#: MT-CP's meter drops depths from here on, in metres: a relic of a 16-bit clip.
MTCP_MAX_DEPTH = 6.5535

_LOWER = ('rmse', 'rmse_log', 'abs_rel', 'sq_rel', 'abs_err', 'log10', 'silog', 'silog_pooled')
_SHARES = ('d1', 'd2', 'd3')


def depth_sums(pred: Array, gt: Array, log_clamp: float = 1e-3) -> Array:
    """Sums over pixels that all depth scores are made of, float64.

    Args:
        pred (Array): Predicted depth ``(N,)``.
        gt (Array): True depth ``(N,)``, > 0.
        log_clamp (float): Predictions are raised to this before a logarithm is taken.

    Returns:
        Array: ``(10,)``: sums of squared error, squared log error, relative error,
        squared error over true depth, absolute error, absolute log10 error, log error, and
        the number of pixels with a ratio below 1.25, 1.25^2, 1.25^3.
    """
    pred, gt = np.asarray(pred, np.float64), np.asarray(gt, np.float64)
    error = pred - gt
    log_error = np.log(np.maximum(pred, log_clamp)) - np.log(gt)
    with np.errstate(divide='ignore'):
        # A prediction of 0 is infinitely far off; a negative one is no depth at all.
        worst = np.where(pred >= 0, np.maximum(pred / gt, gt / np.maximum(pred, 0)), np.inf)
    return np.asarray([
        (error**2).sum(), (log_error**2).sum(), (np.abs(error) / gt).sum(), (error**2 / gt).sum(),
        np.abs(error).sum(), (np.abs(log_error) / np.log(10)).sum(), log_error.sum(),
        *((worst < 1.25**k).sum() for k in (1, 2, 3)),
    ])  # fmt: skip


def depth_scores(sums: Array, count: float) -> dict[str, float]:
    """Scores from :func:`depth_sums` over ``count`` pixels; ``silog`` is that of these pixels."""
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
    """RMSE and the other usual scores of depth.

    With prediction d and truth g: ``rmse``; ``rmse_log`` (natural log); ``abs_rel``, mean
    ``|d - g| / g`` (relErr of MTAN and LibMTL); ``sq_rel``, mean ``(d - g)^2 / g``;
    ``abs_err``, mean ``|d - g|`` (absErr); ``log10``, mean ``|log10 d - log10 g|``;
    the shares ``d1``, ``d2``, ``d3`` of pixels with ``max(d / g, g / d) < 1.25^k``; and
    ``silog = 100 sqrt(mean e^2 - (mean e)^2)``, ``e = ln d - ln g``, of each picture and
    then averaged (KITTI), next to ``silog_pooled`` over all pixels, both in every
    average.

    A pixel counts if its true value is finite, above ``min_depth``, below ``max_depth``, and
    neither the task's mark for unknown nor 255, that of published pipelines, whatever the
    range the task trains on. The quantity is the task's: for disparity or inverse depth the
    numbers have its unit, and the results its prefix.

    MTAN averages the means of its batches with equal weight, which depends on the
    batch size; ``average='image'`` equals it for batches of one picture.

    Args:
        min_depth (float): Pixels count above this, in the unit of the task.
        max_depth (float | None): ... and below this. None: no upper end, as in ASTMT,
            MTI-Net, ATRC and InvPT. MT-CP's 6.5535 m makes its RMSE one of near pixels,
            not comparable with any other.
        average (str): ``'pixel'``: pooled over the pixels of all pictures (ASTMT,
            MTI-Net, ATRC, InvPT, DeMT, LibMTL). ``'image'``: scores per picture, averaged
            (the monocular-depth literature).
        crop (str | None): ``'eigen'`` scores rows 45..470 and columns 41..600 of 480x640,
            scaled for other sizes. Pictures of 425x560 are that crop and count whole.
        clamp (float | str | None): What happens to predictions first: raised to a number
            (1e-9 in MTI-Net and InvPT, 0 in ATRC; nothing is cut from above);
            ``'range'``: cut to ``min_depth`` and ``max_depth`` (monocular depth); None:
            taken as they are.
        log_clamp (float): Predictions are raised to this before a logarithm is taken.
        task, prefix: As in :class:`DenseMetric`.

    Raises:
        ValueError: If the range is empty or an option is unknown.
    """

    default_task = dict(type='Depth')
    higher_is_better = dict(dict.fromkeys(_LOWER, False), **dict.fromkeys(_SHARES, True))
    percent = frozenset(_SHARES)

    def __init__(
        self,
        min_depth: float = 0.0,
        max_depth: float | None = None,
        average: str = 'pixel',
        crop: str | None = None,
        clamp: float | str | None = 1e-9,
        log_clamp: float = 1e-3,
        task: BaseTask | Mapping[str, Any] | None = None,
        prefix: str | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(task, prefix, collect_device)
        if min_depth < 0 or (max_depth is not None and max_depth <= min_depth):
            raise ValueError(
                f'DepthMetric: min_depth={min_depth}, max_depth={max_depth} is an empty or '
                'negative range; need 0 <= min_depth < max_depth, or max_depth=None for no '
                'upper end.'
            )
        require_choice('DepthMetric.average', average, ['pixel', 'image'])
        require_choice('DepthMetric.crop', crop, [None, 'eigen'])
        if isinstance(clamp, str):
            require_choice('DepthMetric.clamp', clamp, [None, 'range'])
        if log_clamp <= 0:
            raise ValueError(f'DepthMetric.log_clamp is {log_clamp}; logarithms need it above 0.')
        self.min_depth, self.max_depth = min_depth, max_depth
        self.average, self.crop = average, crop
        self.clamp, self.log_clamp = clamp, log_clamp
        length = getattr(self.task, 'unit', 'm')
        self.unit = dict(rmse=length, abs_err=length, sq_rel=length)

    @property
    def protocol(self) -> str:
        unit = self.unit['rmse']
        pooled = 'pooled over pixels' if self.average == 'pixel' else 'per picture, averaged'
        upper = '' if self.max_depth is None else f' < {self.max_depth:g}'
        kind = getattr(self.task, 'kind', 'metric')
        return ', '.join(
            [
                *([] if kind == 'metric' else [kind]),
                pooled,
                f'{self.min_depth:g} < gt{upper} {unit}'.rstrip(),
                'Eigen crop' if self.crop else 'no crop',
                self._clamp_text(),
                f'logs of pred >= {self.log_clamp:g}',
            ]
        )

    def _clamp_text(self) -> str:
        if self.clamp is None:
            return 'pred as it is'
        return 'pred cut to range' if self.clamp == 'range' else f'pred >= {self.clamp:g}'

    def valid(self, gt: Array) -> Array:
        # Not the task's own rule: the range a model is trained on is no part of a protocol.
        known = np.isfinite(gt) & (gt != self.task.ignore_value) & (gt > self.min_depth)
        known &= gt != PUBLISHED_UNKNOWN
        return known if self.max_depth is None else known & (gt < self.max_depth)

    def update(self, pred: Array, gt: Array, valid: Array) -> Counters:
        counted = valid & self._inside(gt.shape) if self.crop else valid
        count = int(counted.sum())
        sums = depth_sums(self._clamped(pred[counted]), gt[counted], self.log_clamp)
        scores = depth_scores(sums, count)
        silog = np.asarray(scores['silog'] if count else 0.0)
        counters = dict(silog=silog, pictures=np.asarray(int(count > 0)), sums=sums)
        if self.average == 'pixel':
            return dict(counters, pixels=np.asarray(count))
        row = np.asarray([value if count else 0.0 for value in scores.values()])
        return dict(counters, pixels=np.asarray(count), scores=row)

    def _inside(self, size: tuple[int, ...]) -> Array:
        height, width = size
        inside = np.ones(size, bool)
        if (height, width) != _CROPPED_SIZE:
            top, bottom, left, right = np.rint(
                np.asarray(EIGEN_CROP) * (height, height, width, width)
            ).astype(int)
            inside[:] = False
            inside[top:bottom, left:right] = True
        return inside

    def _clamped(self, pred: Array) -> Array:
        if self.clamp is None:
            return pred
        if isinstance(self.clamp, str):
            return np.clip(pred, max(self.min_depth, self.log_clamp), self.max_depth)
        return np.maximum(pred.astype(np.float64), self.clamp)

    def compute(self, counters: Counters) -> dict[str, float]:
        pictures, pixels = int(counters['pictures']), int(counters['pixels'])
        values = depth_scores(counters['sums'], pixels)
        pooled_silog = values['silog']
        if self.average == 'image':
            values = {name: ratio(v, pictures) for name, v in zip(values, counters['scores'])}
        values['silog'] = ratio(float(counters['silog']), pictures)
        values['silog_pooled'] = pooled_silog
        return {name: values[name] for name in self.higher_is_better}
