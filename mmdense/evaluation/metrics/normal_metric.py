"""Scores of surface normals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdense.evaluation.counters import Added, Counters, Values
from mmdense.evaluation.file_protocol import normals_to_uint8, uint8_to_normals
from mmdense.registry import METRICS
from mmdense.tasks import BaseTask
from mmdense.utils import ShapeError

from .base import PUBLISHED_UNKNOWN, Array, DenseMetric, ratio, require_choice

BINS_PER_DEGREE = 100
#: Bit patterns of float16 from 0 to 180 degrees; they are in the order of the numbers.
_FLOAT16_BINS = int(np.float16(180).view(np.uint16)) + 1
#: Up to so many angles (32 MiB of float64) the median is taken of themselves.
EXACT_ANGLES = 2**22


def angular_error(pred: Array, gt: Array, formula: str = 'atan2') -> Array:
    """Angle between vectors in degrees, float64. A zero prediction is 90 degrees off.

    Args:
        pred (Array): ``(..., 3)``, any length.
        gt (Array): ``(..., 3)``, not zero.
        formula (str): ``'atan2'``: ``2 atan2(|u - v|, |u + v|)`` of the normalised vectors
            (ATRC, InvPT), which keeps its accuracy near 0. ``'arccos'`` of the clipped dot
            product (ASTMT, MTAN). In float64 they agree to 1e-5 degrees.

    Returns:
        Array: ``(...)``.

    Raises:
        ShapeError: If the shapes differ or the last size is not 3.

    Example:
        >>> angular_error(np.array([[0.0, 2, 0]]), np.array([[1.0, 0, 0]])).round(6)
        array([90.])
    """
    pred, gt = np.asarray(pred), np.asarray(gt)
    if pred.shape != gt.shape or pred.shape[-1:] != (3,):
        raise ShapeError(
            f'angular_error: pred {pred.shape} and gt {gt.shape}, expected two arrays (..., 3) of '
            'one shape. Move channels to the end.'
        )
    # Channels first: sums over three rows of all pixels are several times faster.
    u, v = (_unit(np.ascontiguousarray(x.reshape(-1, 3).T, np.float64)) for x in (pred, gt))
    if formula == 'arccos':
        angle = np.arccos(np.clip(np.einsum('cn,cn->n', u, v), -1, 1))
    else:
        angle = 2 * np.arctan2(_length(u - v), _length(u + v))
    return np.degrees(angle).reshape(pred.shape[:-1])


def _length(vectors: Array) -> Array:
    return np.sqrt(np.einsum('cn,cn->n', vectors, vectors))


def _unit(vectors: Array) -> Array:
    length = _length(vectors)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


@METRICS.register_module()
class NormalMetric(DenseMetric):
    """Angular error of surface normals in degrees, pooled over the pixels of all pictures.

    ``mean``, ``median``, ``rmse`` and the shares of pixels below each threshold (strict).
    Predictions of any length are scored by their direction; a zero vector is 90 degrees
    off. Pictures without a valid pixel contribute nothing. Unknown is the zero vector, and 255
    in all channels, what published pipelines make of it.

    Args:
        thresholds (Sequence[float]): Degrees.
        formula (str): ``'atan2'`` or ``'arccos'``, see :func:`angular_error`.
        median (str): ``'histogram'``: of the angles themselves for up to 4,194,304 pixels,
            beyond from bins of 0.01 degrees, exact to 0.005.
            ``'float16'``: the exact median of the angles rounded to float16, whose steps
            are finer than the bins below 16 degrees and 0.06 degrees from 64 on.
            ``'image'``: the median of each picture, averaged over pictures (MTAN, whose
            batches hold several).
        quantize (str | None): ``'uint8'``: predictions are first truncated to 8 bits and
            read back, as codes do that score files (ASTMT, MTI-Net); errors of the order
            of 0.1 degree, and a zero vector becomes the direction (-1, -1, -1). Maps
            that hold longer vectors than unit ones are normalised before.
        valid_rule (str): ``'norm'``: pixels whose true vector is not zero. ``'sum'``: whose
            components do not sum to zero, the mask of MTAN's lineage, which also drops
            known vectors whose components cancel.
        task, prefix: As in :class:`DenseMetric`.

    Raises:
        ValueError: If an option is unknown.
    """

    default_task = dict(type='Normal')

    def __init__(
        self,
        thresholds: Sequence[float] = (11.25, 22.5, 30.0),
        formula: str = 'atan2',
        median: str = 'histogram',
        quantize: str | None = None,
        valid_rule: str = 'norm',
        task: BaseTask | Mapping[str, Any] | None = None,
        prefix: str | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(task, prefix, collect_device)
        require_choice('NormalMetric.formula', formula, ['atan2', 'arccos'])
        require_choice('NormalMetric.median', median, ['histogram', 'float16', 'image'])
        require_choice('NormalMetric.quantize', quantize, [None, 'uint8'])
        require_choice('NormalMetric.valid_rule', valid_rule, ['norm', 'sum'])
        self.thresholds = tuple(thresholds)
        self.formula, self.median = formula, median
        self.quantize, self.valid_rule = quantize, valid_rule
        shares = [f'{t:g}' for t in self.thresholds]
        self.higher_is_better = dict(
            dict(mean=False, median=False, rmse=False), **dict.fromkeys(shares, True)
        )
        self.percent = frozenset(shares)
        self.unit = dict(mean='deg', median='deg', rmse='deg')

    @property
    def protocol(self) -> str:
        # The two formulas agree to 1e-5 degrees and the pooled medians to their rounding:
        # neither makes another protocol.
        parts = ['pooled over pixels']
        if self.median == 'image':
            parts.append('median per picture and averaged')
        if self.quantize:
            parts.append('predictions truncated to 8 bit')
        parts.append(f'gt {self.valid_rule} not 0')
        return ', '.join(parts)

    def valid(self, gt: Array) -> Array:
        known = self.task.valid(gt) & np.isfinite(gt).all(axis=-1)
        known &= gt[..., 0] != PUBLISHED_UNKNOWN
        return known & (gt.sum(axis=-1) != 0) if self.valid_rule == 'sum' else known

    def update(self, pred: Array, gt: Array, valid: Array) -> Added:
        if self.quantize:
            pred = uint8_to_normals(normals_to_uint8(np.where(valid[..., None], pred, 0)))
        error = angular_error(pred[valid], gt[valid], self.formula)
        return dict(
            sums=np.asarray([error.sum(), (error**2).sum()]),
            below=np.asarray([(error < t).sum() for t in self.thresholds]),
            pixels=np.asarray(error.size),
            **self._for_median(error),
        )

    def _for_median(self, error: Array) -> dict[str, Array | Values]:
        if self.median == 'image':
            middle = np.median(error) if error.size else 0.0
            return dict(median=np.asarray(middle), pictures=np.asarray(int(error.size > 0)))
        histogram = self._histogram(error)
        if self.median == 'float16':
            return dict(histogram=histogram)
        return dict(histogram=histogram, angles=Values(error, EXACT_ANGLES))

    def _histogram(self, error: Array) -> Array:
        if self.median == 'float16':
            bits = error.astype(np.float16).view(np.uint16).astype(np.int64)
            return np.bincount(bits, minlength=_FLOAT16_BINS)
        bins = np.minimum(error * BINS_PER_DEGREE, 180 * BINS_PER_DEGREE - 1).astype(np.int64)
        return np.bincount(bins, minlength=180 * BINS_PER_DEGREE)

    def _median(self, counters: Counters, count: int) -> float:
        """The mean of the two middle angles, which are one for an odd count."""
        if self.median == 'image':
            return ratio(float(counters['median']), int(counters['pictures']))
        if 'angles' in counters:
            return float(np.median(counters['angles']))
        histogram = counters['histogram']
        ranks = np.asarray([(count + 1) // 2, count // 2 + 1])
        middle = np.searchsorted(np.cumsum(histogram), ranks)
        if self.median == 'float16':
            return float(middle.astype(np.uint16).view(np.float16).astype(np.float64).mean())
        return float((middle + 0.5).mean() / BINS_PER_DEGREE)

    def compute(self, counters: Counters) -> dict[str, float]:
        count = int(counters['pixels'])
        median = self._median(counters, count) if count else np.nan
        total, squares = counters['sums']
        values = dict(mean=ratio(total, count), median=median, rmse=np.sqrt(ratio(squares, count)))
        for threshold, below in zip(self.thresholds, counters['below']):
            values[f'{threshold:g}'] = ratio(below, count)
        return values
