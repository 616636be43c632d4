"""Human part segmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdense.registry import TASKS

from .base import Array
from .labels import LabelTask

PART_CLASSES = ('background', 'head', 'torso', 'upper arm', 'lower arm', 'upper leg', 'lower leg')


@TASKS.register_module()
class Part(LabelTask):
    """Human parts: background and six parts per pixel, uint8, 255 unknown.

    A picture without any part pixel holds no information about parts, since not all people
    are annotated: it is 255 throughout, and so is such a crop of another picture (ATRC,
    ASTMT). Loss, map and headline as semantic segmentation.
    """

    key = 'part'
    aliases = ('parts', 'human_parts')
    field = 'part'

    def __init__(
        self,
        num_classes: int = 7,
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        losses: Sequence[Mapping[str, Any]] | None = None,
        metrics: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        if classes is None and num_classes == len(PART_CLASSES):
            classes = PART_CLASSES
        super().__init__(num_classes, classes, palette, losses, metrics)

    def after_geometry(self, gt: Array) -> Array:
        """A map without any part, of background and unknown pixels only, is unknown throughout."""
        if ((gt != 0) & (gt != self.ignore_value)).any():
            return gt
        return np.full_like(gt, self.ignore_value)
