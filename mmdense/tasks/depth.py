"""Depth: metric, or one of the inverse quantities that stereo data sets hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from mmdense.registry import TASKS
from mmdense.utils import DataError, suggest

from .base import Array, BaseTask
from .drawing import Legend, scale_legend

#: Kind of depth to its unit. Data sets state theirs as ``metainfo['depth_kind']``.
DEPTH_KINDS = {'metric': 'm', 'disparity_px': 'px', 'inverse_norm': ''}
#: Kind of depth to what it measures, in words.
DEPTH_MEANINGS = {
    'metric': 'distance along the optical axis, not along the ray',
    'disparity_px': 'stereo disparity in pixels of the full picture, 0 infinitely far',
    'inverse_norm': 'inverse depth without a scale, larger is nearer',
}


@TASKS.register_module()
class Depth(BaseTask):
    """Depth along the optical axis (not along the ray), in one of three quantities.

    ``kind`` says which, and everything that depends on it follows:

    - ``'metric'``: metres; 0 is unknown. A picture enlarged s times, as if seen from closer
      by, has depth / s.
    - ``'disparity_px'``: pixels of stereo disparity, 0 infinitely far; -1 is unknown.
      Enlarged s times: disparity * s.
    - ``'inverse_norm'``: inverse depth without a unit, in (0, 1]; 0 is unknown. Enlarged s
      times: value * s.

    A pixel is valid if its value is finite, above ``min_depth`` (disparity: at least) and
    below ``max_depth``. Headline: RMSE pooled over all pixels. Results of kinds that are not
    metric are named after them, ``depth_inverse_norm/rmse``.

    Args:
        min_depth (float): Lower end of the valid range, in the unit of ``kind``. The
            default is for metres; 0 is usual for the other kinds.
        max_depth (float): Upper end.
        activation (str): How a head's raw channel becomes a value: ``'softplus'``
            (unbounded, > 0), ``'sigmoid'`` (inside the range) or ``'identity'``.
        initial_depth (float | None): Value that a per-pixel head predicts before training.
            None: 3, a usual depth indoors, or the middle of a range that does not hold 3.
        kind (str): ``'metric'``, ``'disparity_px'`` or ``'inverse_norm'``.
        losses, metrics: As in :class:`BaseTask`.

    Raises:
        ValueError: If ``min_depth >= max_depth``, if ``min_depth < 0``, if
            ``initial_depth`` is outside the range, or if ``activation`` or ``kind`` is
            unknown.
    """

    key = 'depth'
    field = 'depth_map'
    headline = 'rmse'
    higher_is_better = False
    ignore_value = 0.0
    dtype = np.float32
    default_losses = (dict(type='MaskedL1Loss'),)
    map_kind = 'depth'

    def __init__(
        self,
        min_depth: float = 1e-3,
        max_depth: float = 10.0,
        activation: str = 'softplus',
        initial_depth: float | None = None,
        kind: str = 'metric',
        losses: Sequence[Mapping[str, Any]] | None = None,
        metrics: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(losses, metrics)
        if kind not in DEPTH_KINDS:
            raise ValueError(f"tasks['depth'].kind is {kind!r}. {suggest(kind, DEPTH_KINDS)}")
        if not 0 <= min_depth < max_depth:
            raise ValueError(
                f"tasks['depth']: the range min_depth={min_depth}, max_depth={max_depth} is empty "
                'or negative; need 0 <= min_depth < max_depth in metres, for example 0.001 and 10.'
            )
        if activation not in ('softplus', 'sigmoid', 'identity'):
            raise ValueError(
                f"tasks['depth'].activation is {activation!r}; choose 'softplus', "
                "'sigmoid' or 'identity'."
            )
        if initial_depth is None:
            initial_depth = 3.0 if min_depth < 3 < max_depth else (min_depth + max_depth) / 2
        if not min_depth < initial_depth < max_depth:
            raise ValueError(
                f"tasks['depth'].initial_depth is {initial_depth}, outside the range {min_depth} "
                f'to {max_depth}. Set it to a typical depth in metres.'
            )
        self.kind = kind
        # Zero disparity is a measurement: infinitely far.
        self.ignore_value = -1.0 if kind == 'disparity_px' else 0.0
        self.initial_depth = initial_depth
        self.min_depth = min_depth
        self.max_depth = max_depth
        self.activation = activation

    @property
    def num_channels(self) -> int:
        return 1

    @property
    def unit(self) -> str:
        """Unit of the values, '' where there is none."""
        return DEPTH_KINDS[self.kind]

    @property
    def map_unit(self) -> str:
        return self.unit

    @property
    def convention(self) -> str:
        quantity = DEPTH_MEANINGS[self.kind]
        return (
            f'{quantity}; known inside ({self.min_depth:g}, {self.max_depth:g}), '
            f'{self.ignore_value:g}: unknown'
        )

    @property
    def prefix(self) -> str:
        return self.key if self.kind == 'metric' else f'{self.key}_{self.kind}'

    def zoom(self, gt: Array, factor: float) -> Array:
        if self.kind == 'metric':
            return gt / np.float32(factor)
        return np.where(gt == self.ignore_value, gt, gt * np.float32(factor))

    def valid(self, gt: Array) -> Array:
        # Written as a positive test so that NaN is invalid too.
        low = gt >= self.min_depth if self.kind == 'disparity_px' else gt > self.min_depth
        return low & (gt < self.max_depth)

    def valid_mask(self, target: Tensor) -> Tensor:
        at_least = target >= self.min_depth
        low = at_least if self.kind == 'disparity_px' else target > self.min_depth
        return low & (target < self.max_depth)

    def check(self, gt: Array, where: str) -> Array:
        if np.isnan(gt).any() or ((gt < 0) & (gt != self.ignore_value)).any():
            unit = self.unit or 'inverse depth'
            raise DataError(
                f"{where}: ground truth of task 'depth' holds NaN or negative values (minimum "
                f'{np.nanmin(gt) if np.isfinite(gt).any() else "none"}); it must be {self.kind} '
                f'depth ({unit}) with {self.ignore_value:g} for unknown.'
            )
        return super().check(gt, where)

    @property
    def initial_bias(self) -> float:
        if self.activation == 'softplus':
            return float(np.log(np.expm1(self.initial_depth)))
        if self.activation == 'sigmoid':
            share = (self.initial_depth - self.min_depth) / (self.max_depth - self.min_depth)
            return float(np.log(share / (1 - share)))
        return self.initial_depth

    def activate(self, logits: Tensor) -> Tensor:
        if self.activation == 'softplus':
            return torch.nn.functional.softplus(logits)
        if self.activation == 'sigmoid':
            return self.min_depth + (self.max_depth - self.min_depth) * logits.sigmoid()
        return logits

    def decode(self, pred: Tensor) -> Tensor:
        return pred.clamp(self.min_depth, self.max_depth)

    def default_metrics(self) -> list[dict[str, Any]]:
        return [dict(type='DepthMetric', min_depth=self.min_depth, max_depth=self.max_depth)]

    def best_constant(self, maps: Sequence[Array]) -> Array:
        values = np.concatenate([m[self.valid(m)] for m in maps]).astype(np.float64)
        return np.asarray([values.mean()], dtype=self.dtype)

    def describe(self, value: Array) -> str:
        return f'{value[0]:.2f} {self.unit}'.rstrip()

    def color_range(self, reference: Array) -> tuple[float, float]:
        """Depths at the ends of the colours: the 1st and 99th percentile of the known ones."""
        known = reference[self.valid(reference)]
        if not known.size:
            return self.min_depth, self.max_depth
        low, high = np.percentile(known, (1, 99))
        return float(low), float(high)

    def colorize(self, value: Array, reference: Array | None = None) -> Array:
        low, high = self.color_range(value if reference is None else reference)
        scaled = np.clip((value - low) / max(high - low, 1e-6), 0, 1)
        # Near is bright in every kind, and the farthest is not as black as the unknown.
        near = 1 - scaled if self.kind == 'metric' else scaled
        shade = (255 * (0.12 + 0.88 * near)).astype(np.uint8)
        picture = cv2.applyColorMap(shade, cv2.COLORMAP_INFERNO)
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        picture[(value == self.ignore_value) | (value < 0)] = 0
        return picture

    def legend(self, maps: Sequence[Array], reference: Array | None = None) -> Legend:
        known = np.concatenate([m.ravel() for m in maps]) if reference is None else reference
        low, high = self.color_range(known)
        ends = [self.describe(np.asarray([end])) for end in (low, high)]
        return scale_legend(low, high, ends)

    def error_limit(self, gt: Array) -> float:
        """A quarter of the median depth."""
        known = gt[self.valid(gt)]
        return 0.25 * float(np.median(known) if known.size else self.initial_depth) or 1.0

    def describe_error(self, value: float) -> str:
        return self.describe(np.asarray([value]))
