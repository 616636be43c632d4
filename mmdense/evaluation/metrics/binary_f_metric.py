"""Scores of probability maps: saliency, and boundaries pixel by pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdense.evaluation.counters import Counters
from mmdense.evaluation.file_protocol import (
    probability_to_uint8,
    single_or_double,
    uint8_to_probability,
)
from mmdense.registry import METRICS
from mmdense.tasks import BaseTask

from .base import Array, DenseMetric, require_choice, require_probability

# Keeps precision and recall of a picture finite where nothing is predicted or labelled.
_EPS = 1e-12


@METRICS.register_module()
class BinaryFMetric(DenseMetric):
    """Maximal F-measure over thresholds, ``F = (1 + beta2) P R / (beta2 P + R)``.

    The arguments select one of the published saliency scores, which must never share a
    table without a note:

    - ATRC, MQTransformer, DeMT: the defaults.
    - InvPT, TaskPrompter: ``sigmoid_again=True``. Their meter applies a second sigmoid, so
      that the 19 thresholds act as all positive, 0.2007, 0.4055, 0.6190 and 0.8473 on the
      probability; its maxF is a lower bound of ATRC's.
    - ASTMT, MTI-Net: ``beta2=1, thresholds=[0.2, 0.25 .. 0.9], strict=True,
      average='image', quantize='uint8'``. Headline: ``mIoU``.

    Pixels of unknown label are left out everywhere. Codes with two logits take the softmax
    of the second, which equals the sigmoid of one logit, their difference. For boundaries
    this is a pixel-wise score without tolerance, not odsF.

    ``maxF`` comes with the ``precision`` and ``recall`` of its threshold (the first that
    reaches it); ``average='image'`` adds ``mIoU``, the maximum over thresholds of the mean
    IoU of pictures.

    Args:
        beta2 (float): Weight of recall, squared.
        thresholds (Sequence[float] | None): Ascending. None: 0.05, 0.10 .. 0.95.
        average (str): ``'pixel'``: pixel counts pooled over all pictures; NaN counts as 0.
            ``'image'``: precision, recall (with eps 1e-12) and IoU of each picture, then the
            mean over pictures; the IoU of an empty label and an empty prediction is 1.
        strict (bool): Whether a pixel is positive if ``probability > threshold`` rather
            than ``>=``.
        sigmoid_again (bool): Whether probabilities go through a sigmoid first.
        quantize (str | None): ``'uint8'``: probabilities are truncated to 8 bits first.
        task, prefix: As in :class:`DenseMetric`.

    Raises:
        ValueError: If an option is unknown or ``thresholds`` do not ascend.
        DataError: From :meth:`process`, if a prediction is no probability.
    """

    default_task = dict(type='Saliency')

    def __init__(
        self,
        beta2: float = 0.3,
        thresholds: Sequence[float] | None = None,
        average: str = 'pixel',
        strict: bool = False,
        sigmoid_again: bool = False,
        quantize: str | None = None,
        task: BaseTask | Mapping[str, Any] | None = None,
        prefix: str | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(task, prefix, collect_device)
        require_choice('BinaryFMetric.average', average, ['pixel', 'image'])
        require_choice('BinaryFMetric.quantize', quantize, [None, 'uint8'])
        # k / 20 rather than a running sum, so that 0.15 is the float nearest to 0.15.
        self.thresholds = np.asarray(
            [k / 20 for k in range(1, 20)] if thresholds is None else thresholds, np.float64
        )
        if not self.thresholds.size or (np.diff(self.thresholds) <= 0).any():
            raise ValueError(
                f'BinaryFMetric.thresholds is {self.thresholds.tolist()}; give at least one '
                'number, in ascending order.'
            )
        self.beta2 = beta2
        self.average, self.strict = average, strict
        self.sigmoid_again, self.quantize = sigmoid_again, quantize
        names = ('maxF', 'precision', 'recall', *(('mIoU',) if average == 'image' else ()))
        self.higher_is_better = dict.fromkeys(names, True)
        self.percent = frozenset(names)

    @property
    def protocol(self) -> str:
        pooled = self.average == 'pixel'
        parts = [
            'pixel counts pooled' if pooled else 'precision, recall, IoU per picture, averaged',
            f'beta2={self.beta2:g}',
            f'{len(self.thresholds)} thresholds {self.thresholds[0]:g}..{self.thresholds[-1]:g}',
            f'positive if p {">" if self.strict else ">="} t',
        ]
        if self.sigmoid_again:
            parts.append('second sigmoid')
        if self.quantize:
            parts.append('predictions truncated to 8 bit')
        return ', '.join([*parts, 'no tolerance'])

    def update(self, pred: Array, gt: Array, valid: Array) -> Counters:
        require_probability(pred[valid], f"BinaryFMetric of task '{self.task.key}'")
        truth = gt[valid] == 1
        # Number of thresholds that each pixel reaches; one histogram serves them all.
        probability = self._read(pred[valid])
        # In the precision of the map: the float32 nearest to 0.7 is below the float64 0.7, and
        # yet reaches it, as in published codes.
        level = np.searchsorted(
            self.thresholds.astype(probability.dtype),
            probability,
            side='left' if self.strict else 'right',
        )
        bins = len(self.thresholds) + 1
        positive = np.bincount(level, minlength=bins)
        hits = np.bincount(level[truth], minlength=bins)
        hits, positive = (counts[::-1].cumsum()[::-1][1:] for counts in (hits, positive))
        actual = np.asarray(int(truth.sum()))
        if self.average == 'pixel':
            return dict(hits=hits, positive=positive, actual=actual)
        union = positive + actual - hits
        scores = [
            hits / (positive + _EPS),
            hits / (actual + _EPS),
            np.divide(hits, union, out=np.ones(hits.shape), where=union > 0),
        ]
        return dict(
            scores=np.stack(scores) * float(truth.size > 0),
            pictures=np.asarray(int(truth.size > 0)),
        )

    def _read(self, pred: Array) -> Array:
        if self.quantize:
            pred = uint8_to_probability(probability_to_uint8(pred))
        probability = single_or_double(pred)
        return 1 / (1 + np.exp(-probability)) if self.sigmoid_again else probability

    def compute(self, counters: Counters) -> dict[str, float]:
        if self.average == 'image':
            return self._per_picture(counters)
        hits = counters['hits'].astype(np.float64)
        actual = float(counters['actual'])
        positive = counters['positive']
        precision = np.divide(hits, positive, out=np.zeros_like(hits), where=positive > 0)
        recall = hits / actual if actual else np.zeros_like(hits)
        return self._best(precision, recall)

    def _per_picture(self, counters: Counters) -> dict[str, float]:
        pictures = int(counters['pictures'])
        if not pictures:
            return dict.fromkeys(self.higher_is_better, np.nan)
        precision, recall, iou = counters['scores'] / pictures
        return dict(self._best(precision, recall), mIoU=float(iou.max()))

    def _best(self, precision: Array, recall: Array) -> dict[str, float]:
        weight = self.beta2 * precision + recall
        product = (1 + self.beta2) * precision * recall
        f = np.divide(product, weight, out=np.zeros_like(product), where=weight > 0)
        best = int(f.argmax())
        return dict(maxF=f[best], precision=precision[best], recall=recall[best])
