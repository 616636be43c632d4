"""What boundaries and saliency share: one probability per pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from mmdense.utils import DataError

from .base import Array, BaseTask
from .drawing import Legend, label_edges, scale_legend


class BinaryTask(BaseTask):
    """Base of tasks with one probability per pixel; ground truth 0 or 1, uint8, 255 unknown.

    Args:
        num_logits (int): Channels that a head predicts. 1 (the default), or 2: negative and
            positive. A softmax over two logits is the sigmoid of their difference, and
            cross-entropy over two classes weighted (1 - w, w) is the balanced loss of it, so
            only the number of parameters differs.
        losses, metrics: As in :class:`BaseTask`.

    Raises:
        ValueError: If ``num_logits`` is neither 1 nor 2.
    """

    higher_is_better = True
    ignore_value = 255
    dtype = np.uint8
    map_kind = 'probability'

    def __init__(
        self,
        num_logits: int = 1,
        losses: Sequence[Mapping[str, Any]] | None = None,
        metrics: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(losses, metrics)
        if num_logits not in (1, 2):
            raise ValueError(f"tasks['{self.key}'].num_logits is {num_logits}; choose 1 or 2.")
        self.num_logits = num_logits

    @property
    def map_unit(self) -> str:
        return 'probability'

    @property
    def convention(self) -> str:
        return f'probability from 0 to 1 that the pixel belongs to the {self.key} map'

    @property
    def num_channels(self) -> int:
        return self.num_logits

    def activate(self, logits: Tensor) -> Tensor:
        return logits if self.num_logits == 1 else logits[:, 1:] - logits[:, :1]

    def valid(self, gt: Array) -> Array:
        return gt != self.ignore_value

    def check(self, gt: Array, where: str) -> Array:
        # np.isin takes ten times as long.
        bad = (gt != 0) & (gt != 1) & (gt != self.ignore_value)
        if bad.any():
            raise DataError(
                f"{where}: ground truth of task '{self.key}' holds "
                f'{np.unique(gt[bad])[:8].tolist()}; '
                'allowed are 0, 1 and 255 (unknown).'
            )
        return super().check(gt, where)

    def decode(self, pred: Tensor) -> Tensor:
        return pred.float().sigmoid()

    def best_constant(self, maps: Sequence[Array]) -> Array:
        # The headline is a maximum over thresholds: "all positive" is the best constant.
        return np.ones(1, np.float32)

    def colorize(self, value: Array, reference: Array | None = None) -> Array:
        unknown = value == self.ignore_value
        grey = np.rint(255 * np.clip(np.where(unknown, 0, value), 0, 1)).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)

    def legend(self, maps: Sequence[Array], reference: Array | None = None) -> Legend:
        return scale_legend(0, 1, ('probability 0', '1'))

    def error_limit(self, gt: Array) -> float:
        return 1.0

    def outline(self, value: Array) -> Array:
        """The border of where the probability is at least one half."""
        known = self.valid(value)
        return label_edges((value >= 0.5) & known, known)
