"""Scores of label maps: semantic segmentation and human parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdense.evaluation.counters import Counters
from mmdense.registry import METRICS
from mmdense.tasks import BaseTask

from .base import Array, DenseMetric, ratio


@METRICS.register_module()
class SegMetric(DenseMetric):
    """mIoU, mean class accuracy and pixel accuracy of one confusion matrix.

    ``IoU_c = TP / (TP + FP + FN)`` over all labelled pixels of all pictures; a
    prediction at an unknown pixel counts nowhere. A class that is predicted but never
    labelled has IoU 0.

    Args:
        num_classes (int): Number of classes.
        classes (Sequence[str] | None): Names, for per-class results.
        absent (str): What a class with neither label nor prediction does to the mean:
            ``'skip'`` or ``'zero'`` (ATRC, MTI-Net, InvPT, ASTMT).
        per_class (bool): Whether to report ``IoU.<class>`` too.
        task, prefix: As in :class:`DenseMetric`.

    Raises:
        ValueError: If ``absent`` is unknown.
    """

    higher_is_better = dict(mIoU=True, mAcc=True, pixAcc=True)
    percent = frozenset(('mIoU', 'mAcc', 'pixAcc'))

    def __init__(
        self,
        num_classes: int,
        classes: Sequence[str] | None = None,
        absent: str = 'skip',
        per_class: bool = False,
        task: BaseTask | Mapping[str, Any] | None = None,
        prefix: str | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        task = task or dict(type='SemSeg', num_classes=num_classes, classes=classes)
        super().__init__(task, prefix, collect_device)
        if absent not in ('skip', 'zero'):
            raise ValueError(f"SegMetric.absent is {absent!r}; choose 'skip' or 'zero'.")
        self.num_classes = num_classes
        self.classes = tuple(classes) if classes else tuple(map(str, range(num_classes)))
        self.absent = absent
        self.per_class = per_class

    @property
    def protocol(self) -> str:
        rule = 'skipped' if self.absent == 'skip' else 'count as 0'
        return f'one confusion matrix, {self.num_classes} classes, absent classes {rule}'

    def update(self, pred: Array, gt: Array, valid: Array) -> Counters:
        truth = gt[valid].astype(np.int64)
        guess = pred[valid].astype(np.int64)
        flat = np.bincount(truth * self.num_classes + guess, minlength=self.num_classes**2)
        return dict(confusion=flat.reshape(self.num_classes, self.num_classes))

    def compute(self, counters: Counters) -> dict[str, float]:
        confusion = counters['confusion']
        hits = np.diag(confusion).astype(np.float64)
        labelled, predicted = confusion.sum(1), confusion.sum(0)
        union = labelled + predicted - hits
        iou = np.divide(hits, union, out=np.full_like(hits, np.nan), where=union > 0)
        acc = np.divide(hits, labelled, out=np.full_like(hits, np.nan), where=labelled > 0)
        if self.absent == 'zero':
            iou, acc = np.nan_to_num(iou), np.nan_to_num(acc)
        empty = not labelled.any()
        values = dict(
            mIoU=np.nan if empty else np.nanmean(iou),
            mAcc=np.nan if empty else np.nanmean(acc),
            pixAcc=ratio(hits.sum(), labelled.sum()),
        )
        if self.per_class:
            values.update({f'IoU.{name}': value for name, value in zip(self.classes, iou)})
        return values
