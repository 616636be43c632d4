"""Surface normals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch.nn.functional as F
from torch import Tensor

from mmdense.registry import TASKS
from mmdense.utils import DataError

from .base import Array, BaseTask
from .drawing import Legend


def vector_length(vectors: Array) -> Array:
    """Lengths ``(H, W)`` of ``(H, W, 3)``; by channels, ten times as fast as np.linalg.norm."""
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    return np.sqrt(x * x + y * y + z * z)


def stack_channels(values: Array) -> Array:
    """``(H, W)`` repeated to ``(H, W, 3)``; much faster to multiply with than ``[..., None]``."""
    stacked: Array = cv2.merge([values, values, values])
    return stacked


#: Directions of the legend.
_DIRECTIONS = {
    'faces the camera': (0, 0, 1),
    'right': (1, 0, 0),
    'left': (-1, 0, 0),
    'up': (0, 1, 0),
    'down': (0, -1, 0),
}


@TASKS.register_module()
class Normal(BaseTask):
    """Unit surface normals in the camera frame; the zero vector is unknown.

    Axes: x to the right, y up, z towards the camera, so visible surfaces have a normal
    that faces the camera. A mirrored picture negates x and nothing else; a
    counter-clockwise in-plane rotation turns (x, y) the same way; zooming changes
    nothing. Headline: mean angular error in degrees, pooled over all pixels.

    Args:
        losses, metrics: As in :class:`BaseTask`.
        activation (str): ``'unit'``: losses see unit vectors. ``'identity'``: they see what the
            head gives, of any length (the released code of MT-CP). Maps are unit vectors in
            both cases.

    Raises:
        ValueError: If ``activation`` is unknown.
    """

    key = 'normal'
    aliases = ('normals', 'surface_normals')
    field = 'normal'
    headline = 'mean'
    higher_is_better = False
    gt_channels = 3
    ignore_value = 0.0
    dtype = np.float32
    # Overshoots change the length only, which is mended; those of depth would be false metres.
    interpolations = ('nearest', 'linear', 'cubic')
    default_losses = (dict(type='MaskedL1Loss'),)
    map_kind = 'direction'

    def __init__(
        self,
        losses: Sequence[Mapping[str, Any]] | None = None,
        metrics: Sequence[Mapping[str, Any]] | None = None,
        activation: str = 'unit',
    ) -> None:
        super().__init__(losses, metrics)
        if activation not in ('unit', 'identity'):
            raise ValueError(
                f"tasks['normal'].activation is {activation!r}; choose 'unit' or 'identity'."
            )
        self.activation = activation

    @property
    def map_unit(self) -> str:
        return 'unit vector'

    @property
    def convention(self) -> str:
        return (
            'camera axes: x right, y up, z towards the camera; surfaces face the camera; '
            'zero vector: unknown'
        )

    @property
    def num_channels(self) -> int:
        return 3

    def flip(self, gt: Array) -> Array:
        # numpy mirrors the columns of (H, W, 3) an order of magnitude more slowly.
        mirrored: Array = cv2.flip(gt, 1)
        mirrored[..., 0] *= -1
        return mirrored

    def rotate(self, gt: Array, angle: float) -> Array:
        cos, sin = np.cos(angle), np.sin(angle)
        turned: Array = cv2.transform(gt, np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]))
        return turned

    def renormalize(self, gt: Array, valid: Array) -> Array:
        length = vector_length(gt)
        length[~valid | (length <= 1e-6)] = np.inf
        return gt * stack_channels(1 / length)

    def valid(self, gt: Array) -> Array:
        # By channels: a reduction over the short last axis takes ten times as long.
        known: Array = (gt[..., 0] != 0) | (gt[..., 1] != 0) | (gt[..., 2] != 0)
        return known

    def valid_mask(self, target: Tensor) -> Tensor:
        return (target != 0).any(dim=1, keepdim=True)

    def check(self, gt: Array, where: str) -> Array:
        gt = super().check(gt, where)
        if not np.isfinite(gt).all():
            raise DataError(
                f"{where}: ground truth of task 'normal' holds NaN or infinite values; "
                'it must be unit vectors with the zero vector for unknown.'
            )
        return gt

    def activate(self, logits: Tensor) -> Tensor:
        if self.activation == 'identity':
            return logits
        # fp32: a half-precision norm of small vectors underflows.
        return F.normalize(logits.float(), dim=1, eps=1e-6)

    def decode(self, pred: Tensor) -> Tensor:
        return F.normalize(pred.float(), dim=1, eps=1e-6)

    def from_average(self, mean: Tensor) -> Tensor:
        # The mean direction: shorter than one where the looks differ.
        return F.normalize(mean, dim=1, eps=1e-6)

    def mirror(self, mean: Tensor) -> Tensor:
        signs = mean.new_tensor([-1.0, 1.0, 1.0])[:, None, None]
        return mean.flip(-1) * signs

    def default_metrics(self) -> list[dict[str, Any]]:
        return [dict(type='NormalMetric')]

    def best_constant(self, maps: Sequence[Array]) -> Array:
        """The direction of least mean angle: a geometric median on the sphere (Weiszfeld steps)."""
        normals = np.concatenate([m[self.valid(m)] for m in maps]).astype(np.float64)
        best = normals.mean(axis=0)
        best /= np.linalg.norm(best)
        for _ in range(100):
            # d(angle)/d(best) = -n / sin(angle), so the fixed point weighs by 1 / sin.
            sine = np.sqrt(np.maximum(1 - (normals @ best) ** 2, 1e-4))
            step = (normals / sine[:, None]).mean(axis=0)
            step /= np.linalg.norm(step)
            moved, best = np.linalg.norm(step - best), step
            if moved < 1e-6:
                break
        return best.astype(self.dtype)

    def colorize(self, value: Array, reference: Array | None = None) -> Array:
        picture = np.rint((np.clip(value, -1, 1) + 1) * 127.5).astype(np.uint8)
        picture[~self.valid(value)] = 0
        return picture

    def legend(self, maps: Sequence[Array], reference: Array | None = None) -> Legend:
        values = np.asarray([list(_DIRECTIONS.values())], self.dtype)
        return Legend(values, tuple(_DIRECTIONS))

    def error(self, pred: Array, gt: Array) -> Array:
        """Angle between the two, in degrees."""
        dot = (pred * gt).sum(-1) / np.maximum(vector_length(pred) * vector_length(gt), 1e-12)
        angle = np.degrees(np.arccos(np.clip(dot, -1, 1))).astype(np.float32)
        return np.where(self.valid(gt), angle, np.float32(np.nan))

    def error_limit(self, gt: Array) -> float:
        """45 degrees."""
        return 45.0

    def describe_error(self, value: float) -> str:
        return f'{value:.1f} deg'
