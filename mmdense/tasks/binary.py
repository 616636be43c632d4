"""What boundaries and saliency share: one probability per pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from mmdense.utils import DataError

from .base import Array, BaseTask


class BinaryTask(BaseTask):
    """Base of tasks with one logit per pixel; ground truth 0 or 1, uint8, 255 unknown."""

    higher_is_better = True
    ignore_value = 255
    dtype = np.uint8

    @property
    def num_channels(self) -> int:
        return 1

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
