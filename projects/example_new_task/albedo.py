"""A task that mmdense does not have: the colour of surfaces without the light on them."""

from __future__ import annotations

import numpy as np

from mmdense.registry import TASKS
from mmdense.tasks import RegressionTask


@TASKS.register_module()
class Albedo(RegressionTask):
    """Albedo: RGB in [0, 1], gamma 2 as the picture; -1 in all channels is unknown.

    A map of numbers in a fixed range, so nearly everything is inherited: masked L1 loss, clamping
    to the range, mean absolute error pooled over pixels and channels as the headline, flips,
    resampling, checks of the files. Light is not part of it, and neither is where the camera
    stands: zooming in and turning leave the values alone.
    """

    key = field = 'albedo'
    aliases = ('reflectance',)
    gt_channels = 3

    def colorize(self, value: np.ndarray, reference: np.ndarray | None = None) -> np.ndarray:
        picture = np.rint(255 * np.clip(value, 0, 1)).astype(np.uint8)
        picture[~self.valid(value)] = 0
        return picture
