"""Maps of plain numbers: the regression targets of Taskonomy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import cv2
import numpy as np
from torch import Tensor

from mmdense.registry import TASKS
from mmdense.utils import DataError

from .base import Array, BaseTask
from .drawing import Legend, scale_legend


class RegressionTask(BaseTask):
    """Base of tasks whose map is one or more numbers per pixel, float32, in a fixed range.

    An unknown pixel has :attr:`ignore_value`, below the range, in every channel. Values do not
    change when a picture is mirrored, enlarged or turned. Loss: L1. Map: the raw output
    clamped to the range. Headline: mean absolute error pooled over all pixels.
    """

    #: Smallest and largest value.
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    headline = 'mae'
    higher_is_better = False
    ignore_value = -1.0
    dtype = np.float32
    default_losses = (dict(type='MaskedL1Loss'),)

    @property
    def num_channels(self) -> int:
        return self.gt_channels

    def valid(self, gt: Array) -> Array:
        # Written as a positive test so that NaN is invalid too.
        known: Array = gt >= self.low
        return known if self.gt_channels == 1 else np.asarray(known.all(axis=-1))

    def valid_mask(self, target: Tensor) -> Tensor:
        return (target >= self.low).all(dim=1, keepdim=True)

    def check(self, gt: Array, where: str) -> Array:
        gt = super().check(gt, where)
        bad = ~((gt >= self.low) & (gt <= self.high)) & (gt != self.ignore_value)
        if bad.any():
            raise DataError(
                f"{where}: ground truth of task '{self.key}' holds "
                f'{np.unique(gt[bad])[:4].tolist()}; allowed are {self.low:g} to {self.high:g} and '
                f'{self.ignore_value:g} (unknown).'
            )
        return gt

    @property
    def initial_bias(self) -> float:
        return (self.low + self.high) / 2

    def decode(self, pred: Tensor) -> Tensor:
        return pred.float().clamp(self.low, self.high)

    def default_metrics(self) -> list[dict[str, Any]]:
        return [dict(type='RegressionMetric')]

    def best_constant(self, maps: Sequence[Array]) -> Array:
        # The median has the least absolute error.
        values = np.concatenate([m[self.valid(m)].reshape(-1, self.gt_channels) for m in maps])
        return np.median(values.astype(np.float64), axis=0).astype(self.dtype)

    def color_top(self, reference: Array) -> float:
        """Value of the brightest colour: the 99th percentile of the known ones."""
        known = reference[self.valid(reference)]
        return max(float(np.percentile(known, 99)) if known.size else self.high, 1e-6)

    def colorize(self, value: Array, reference: Array | None = None) -> Array:
        top = self.color_top(value if reference is None else reference)
        scaled = (255 * np.clip(value / top, 0, 1)).astype(np.uint8)
        picture = cv2.applyColorMap(scaled, cv2.COLORMAP_VIRIDIS)
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        picture[~self.valid(value)] = 0
        return picture

    def legend(self, maps: Sequence[Array], reference: Array | None = None) -> Legend | None:
        """A scale from 0; several channels have no scale."""
        if self.gt_channels > 1:
            return None
        known = np.concatenate([m.ravel() for m in maps]) if reference is None else reference
        top = self.color_top(known)
        return scale_legend(0, top, ('0', f'{top:.2g}'))


@TASKS.register_module()
class EdgeTexture(RegressionTask):
    """Edges of texture: strength of the picture's gradient, in [0, 1]; -1 unknown."""

    key = field = 'edge_texture'
    aliases = ('edge2d', 'edges2d')


@TASKS.register_module()
class EdgeOcclusion(RegressionTask):
    """Edges of occlusion in the geometry, in [0, 1]; -1 unknown."""

    key = field = 'edge_occlusion'
    aliases = ('edge3d', 'edges3d')


@TASKS.register_module()
class Keypoints2D(RegressionTask):
    """Interest-point strength in the picture, in [0, 1]; -1 unknown."""

    key = field = 'keypoints2d'
    aliases = ('keypoint2d',)


@TASKS.register_module()
class Keypoints3D(RegressionTask):
    """Interest-point strength in the geometry, in [0, 1]; -1 unknown."""

    key = field = 'keypoints3d'
    aliases = ('keypoint3d',)


@TASKS.register_module()
class Reshading(RegressionTask):
    """Shading of the geometry lit from the camera, in [0, 1]; -1 unknown."""

    key = field = 'reshading'

    def colorize(self, value: Array, reference: Array | None = None) -> Array:
        grey = np.rint(255 * np.clip(value, 0, 1)).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)

    def legend(self, maps: Sequence[Array], reference: Array | None = None) -> Legend:
        return scale_legend(0, 1, ('0', '1'))


@TASKS.register_module()
class PrincipalCurvature(RegressionTask):
    """The two principal curvatures, scaled to [-1, 1], 0 flat; -2 unknown."""

    key = field = 'principal_curvature'
    aliases = ('curvature',)
    gt_channels = 2
    low = -1.0
    ignore_value = -2.0

    def colorize(self, value: Array, reference: Array | None = None) -> Array:
        """First curvature in red, second in green, about grey."""
        picture = np.full((*value.shape[:2], 3), 127, np.uint8)
        picture[..., :2] = np.rint(127.5 + 127.5 * np.clip(value, -1, 1))
        picture[~self.valid(value)] = 0
        return picture

    def legend(self, maps: Sequence[Array], reference: Array | None = None) -> Legend:
        named = {'flat': (0, 0), 'first 1': (1, 0), 'second 1': (0, 1), 'both -1': (-1, -1)}
        return Legend(np.asarray([list(named.values())], self.dtype), tuple(named))
