"""What semantic segmentation and human parts share: maps of class labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from mmdense.utils import DataError

from .base import Array, BaseTask
from .drawing import Legend, label_edges


def class_palette(num_classes: int, classes: Sequence[str] = ()) -> Array:
    """Distinct colours ``(num_classes, 3)`` uint8 by golden-ratio steps in hue.

    A class called ``background`` is dark grey.

    Example:
        >>> class_palette(3).shape
        (3, 3)
    """
    index = np.arange(num_classes)
    hue = (index * 0.618033988749895 * 180) % 180
    saturation = 255 - 70 * (index % 3)
    value = 255 - 50 * ((index // 3) % 3)
    hsv = np.stack([hue, saturation, value], axis=-1).astype(np.uint8)
    colors: Array = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
    colors[[i for i, name in enumerate(classes) if name == 'background']] = 64
    return colors


class LabelTask(BaseTask):
    """Base of tasks whose map is one class label per pixel; 255 is unknown.

    Args:
        num_classes (int): Number of classes, 2 to 255.
        classes (Sequence[str] | None): Class names for tables.
        palette (Sequence | None): ``num_classes`` RGB colours.
        losses, metrics: As in :class:`BaseTask`.

    Raises:
        ValueError: If ``num_classes`` is out of range, or names or colours do not
            number ``num_classes``.
    """

    headline = 'mIoU'
    higher_is_better = True
    ignore_value = 255
    dtype = np.uint8
    default_losses = (dict(type='PixelCrossEntropyLoss'),)
    map_kind = 'labels'
    classes: tuple[str, ...]
    palette: Array

    def __init__(
        self,
        num_classes: int,
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        losses: Sequence[Mapping[str, Any]] | None = None,
        metrics: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(losses, metrics)
        where = f"tasks['{self.key}']"
        if not 2 <= num_classes <= 255:
            raise ValueError(
                f'{where}.num_classes is {num_classes}; labels are uint8 with 255 '
                'unknown, so it must be 2 to 255.'
            )
        for name, value in (('classes', classes), ('palette', palette)):
            if value is not None and len(value) != num_classes:
                raise ValueError(
                    f'{where}.{name} has {len(value)} entries for num_classes='
                    f'{num_classes}; give one each.'
                )
        self.num_classes = num_classes
        self.named = classes is not None
        self.classes = tuple(classes) if classes else tuple(map(str, range(num_classes)))
        self.palette = (
            class_palette(num_classes, self.classes)
            if palette is None
            else np.asarray(palette, dtype=np.uint8)
        )

    @property
    def map_unit(self) -> str:
        return 'class'

    @property
    def convention(self) -> str:
        return f'class index from 0 to {self.num_classes - 1}; {self.ignore_value}: unknown'

    @property
    def num_channels(self) -> int:
        return self.num_classes

    def valid(self, gt: Array) -> Array:
        return gt != self.ignore_value

    def check(self, gt: Array, where: str) -> Array:
        bad = (gt != self.ignore_value) & ((gt < 0) | (gt >= self.num_classes))
        if bad.any():
            raise DataError(
                f"{where}: ground truth of task '{self.key}' holds the labels "
                f'{np.unique(gt[bad])[:8].tolist()}; allowed are 0..{self.num_classes - 1} and 255 '
                f'(unknown). Check num_classes={self.num_classes} or the converter.'
            )
        return super().check(gt, where)

    def decode(self, pred: Tensor) -> Tensor:
        return pred.argmax(dim=1, keepdim=True)

    def to_average(self, pred: Tensor) -> Tensor:
        return pred.float().softmax(dim=1)

    def from_average(self, mean: Tensor) -> Tensor:
        return mean.argmax(dim=1, keepdim=True)

    def default_metrics(self) -> list[dict[str, Any]]:
        return [dict(type='SegMetric', num_classes=self.num_classes, classes=self.classes)]

    def best_constant(self, maps: Sequence[Array]) -> Array:
        # A constant label scores IoU = share of its class on that class and 0 on the others.
        counts = sum(np.bincount(m[self.valid(m)], minlength=self.num_classes) for m in maps)
        return np.asarray([np.argmax(counts)], dtype=self.dtype)

    def describe(self, value: Array) -> str:
        """The likeliest class of a vector of class shares; void may follow the classes."""
        best = int(np.argmax(value))
        return self.classes[best] if best < self.num_classes else 'void'

    def colorize(self, value: Array, reference: Array | None = None) -> Array:
        table = np.zeros((256, 3), np.uint8)
        table[: self.num_classes] = self.palette
        return table[value.astype(np.uint8)]

    def name_classes(self, classes: Sequence[str]) -> None:
        if not self.named and len(classes) == self.num_classes:
            self.classes = tuple(classes)

    def legend(self, maps: Sequence[Array], reference: Array | None = None) -> Legend:
        """The classes that occur."""
        found = np.unique(np.concatenate([np.unique(m) for m in maps]).astype(np.int64))
        found = found[(found >= 0) & (found < self.num_classes)]
        return Legend(found[None].astype(self.dtype), tuple(self.classes[i] for i in found))

    def error(self, pred: Array, gt: Array) -> Array:
        """1 where the label is wrong."""
        wrong = (pred.astype(np.int64) != gt.astype(np.int64)).astype(np.float32)
        return np.where(self.valid(gt), wrong, np.float32(np.nan))

    def error_limit(self, gt: Array) -> float:
        return 1.0

    def describe_error(self, value: float) -> str:
        return f'{100 * value:.0f} % wrong'

    def outline(self, value: Array) -> Array:
        """Borders between classes."""
        return label_edges(value, self.valid(value))
