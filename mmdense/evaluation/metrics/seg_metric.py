"""Scores of label maps: semantic segmentation and human parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdense.evaluation.counters import Counters
from mmdense.registry import METRICS
from mmdense.tasks import BaseTask
from mmdense.utils import DataError

from .base import Array, DenseMetric, ratio, require_choice

_ABSENT = dict(skip='skipped', zero='count as 0', nan='give NaN')
_SKIPPED = dict(
    background='pictures of background alone skipped',
    single_value='pictures of 0 or unknown alone skipped',
)


@METRICS.register_module()
class SegMetric(DenseMetric):
    """mIoU, mean class accuracy and pixel accuracy.

    ``IoU_c = TP / (TP + FP + FN)`` over labelled pixels; a prediction at an unknown pixel
    counts nowhere. A class that is predicted but not labelled has IoU 0.

    Args:
        num_classes (int | None): Number of classes. None: the task's.
        classes (Sequence[str] | None): Names, for per-class results. None: the task's.
        absent (str): What a class with neither label nor prediction does to the mean:
            ``'skip'`` (EMA-Net), ``'zero'``: counts as 0 (ATRC, MTI-Net, InvPT, ASTMT), or
            ``'nan'``: makes it NaN (LibMTL). On full test sets all classes occur.
        average (str): ``'pixel'``: one confusion matrix. ``'image'``: mIoU per picture
            over the classes in its label or prediction, and the accuracies per picture,
            then the mean over pictures (MTAN). The two differ by several points. Not
            reproduced: MTAN's code also counts predictions at unknown pixels into the
            union of their class, which makes its own numbers lower, and averages over
            batches of several pictures.
        skip_images (str | None): Pictures of human parts that do not count at all.
            ``'background'``: no label but 0 and unknown, the rule of codes that score
            tensors; ``'single_value'``: a label map that is 0 or unknown throughout, the
            rule of codes that score files. They differ for labels of 0 and unknown: the
            latter scores false parts there. None: every picture counts.
        per_class (bool): Whether to report ``IoU.<class>`` too.
        task, prefix: As in :class:`DenseMetric`.

    Raises:
        ValueError: If an option is unknown, or if neither ``num_classes`` nor ``task``
            is given.
        DataError: From :meth:`process`, if a label or prediction is no class.
    """

    higher_is_better = dict(mIoU=True, mAcc=True, pixAcc=True)
    percent = frozenset(('mIoU', 'mAcc', 'pixAcc'))

    def __init__(
        self,
        num_classes: int | None = None,
        classes: Sequence[str] | None = None,
        absent: str = 'skip',
        per_class: bool = False,
        average: str = 'pixel',
        skip_images: str | None = None,
        task: BaseTask | Mapping[str, Any] | None = None,
        prefix: str | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        if num_classes is None and task is None:
            raise ValueError('SegMetric: give num_classes, or the task whose classes count.')
        task = task or dict(type='SemSeg', num_classes=num_classes, classes=classes)
        super().__init__(task, prefix, collect_device)
        require_choice('SegMetric.absent', absent, list(_ABSENT))
        require_choice('SegMetric.average', average, ['pixel', 'image'])
        require_choice('SegMetric.skip_images', skip_images, [None, *_SKIPPED])
        if average == 'image' and absent != 'skip':
            raise ValueError(
                f"SegMetric: absent={absent!r} has no meaning with average='image', which "
                "averages over the classes of each picture. Leave `absent` at 'skip'."
            )
        if average == 'image' and per_class:
            raise ValueError("SegMetric: per_class=True needs average='pixel'.")
        self.num_classes = self.task.num_channels if num_classes is None else num_classes
        names = classes or getattr(self.task, 'classes', None)
        if not names or len(names) != self.num_classes:
            names = map(str, range(self.num_classes))
        self.classes = tuple(names)
        self.absent = absent
        self.average = average
        self.skip_images = skip_images
        self.per_class = per_class

    @property
    def protocol(self) -> str:
        if self.average == 'image':
            parts = [
                'per picture over its classes, averaged',
                f'{self.num_classes} classes',
            ]
        else:
            parts = [
                'one confusion matrix',
                f'{self.num_classes} classes',
                f'absent classes {_ABSENT[self.absent]}',
            ]
        if self.skip_images:
            parts.append(_SKIPPED[self.skip_images])
        return ', '.join(parts)

    def update(self, pred: Array, gt: Array, valid: Array) -> Counters:
        if self._skipped(gt, valid):
            valid = np.zeros_like(valid)
        size = self.num_classes
        truth, guess = (self._labels(x[valid], name) for x, name in ((gt, 'label'), (pred, 'pred')))
        flat = np.bincount(truth * size + guess, minlength=size**2)
        confusion = flat.reshape(size, size)
        if self.average == 'pixel':
            return dict(confusion=confusion)
        scores = _scores(confusion)
        row = [scores[name] if len(truth) else 0.0 for name in self.higher_is_better]
        return dict(scores=np.asarray(row), pictures=np.asarray(int(len(truth) > 0)))

    def _skipped(self, gt: Array, valid: Array) -> bool:
        if self.skip_images == 'background':
            return not gt[valid].any()
        if self.skip_images == 'single_value':
            return bool((gt == 0).all() or not valid.any())
        return False

    def _labels(self, values: Array, name: str) -> Array:
        labels = values.astype(np.int64)
        if (labels != values).any():
            raise DataError(
                f"SegMetric of task '{self.task.key}': a {name} holds numbers that are no class, "
                'such as 0.7. Give class indices, the argmax of scores.'
            )
        if labels.size and not 0 <= labels.min() <= labels.max() < self.num_classes:
            what = 'ground truth' if name == 'label' else 'a prediction'
            raise DataError(
                f"SegMetric of task '{self.task.key}': {what} holds labels from {labels.min()} to "
                f'{labels.max()}; num_classes={self.num_classes} allows 0 to '
                f'{self.num_classes - 1}. Give metric, task and head the same number of classes.'
            )
        return labels

    def compute(self, counters: Counters) -> dict[str, float]:
        if self.average == 'image':
            pictures = int(counters['pictures'])
            sums = zip(self.higher_is_better, counters['scores'])
            return {name: ratio(value, pictures) for name, value in sums}
        values = _scores(counters['confusion'], self.absent)
        if self.per_class:
            iou, _ = _per_class(counters['confusion'], self.absent)
            values.update({f'IoU.{name}': value for name, value in zip(self.classes, iou)})
        return values


def _per_class(confusion: Array, absent: str) -> tuple[Array, Array]:
    """IoU and accuracy of each class; NaN for absent ones, unless they count as 0."""
    hits = np.diag(confusion).astype(np.float64)
    labelled, predicted = confusion.sum(1), confusion.sum(0)
    union = labelled + predicted - hits
    missing = 0.0 if absent == 'zero' else np.nan
    iou = np.divide(hits, union, out=np.full_like(hits, missing), where=union > 0)
    acc = np.divide(hits, labelled, out=np.full_like(hits, missing), where=labelled > 0)
    return iou, acc


def _scores(confusion: Array, absent: str = 'skip') -> dict[str, float]:
    total = confusion.sum()
    if not total:
        return dict(mIoU=np.nan, mAcc=np.nan, pixAcc=np.nan)
    iou, acc = _per_class(confusion, absent)
    mean = np.nanmean if absent == 'skip' else np.mean
    return dict(mIoU=mean(iou), mAcc=mean(acc), pixAcc=ratio(np.trace(confusion), total))
