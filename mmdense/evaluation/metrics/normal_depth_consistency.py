"""Whether predicted normals are those of the predicted depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdense.evaluation.counters import Added, Counters
from mmdense.evaluation.geometry import (
    native_intrinsics,
    normals_from_depth,
    normals_from_inverse_depth,
)
from mmdense.registry import METRICS

from .base import Array, ExactMetric, Sample, name_of
from .consistency import need_tasks, predicted
from .normal_metric import NormalMetric


@METRICS.register_module()
class NormalDepthConsistencyMetric(ExactMetric):
    """Angle between predicted normals and the normals of the predicted depth, in degrees.

    No ground truth enters. ``mean``, ``median``, ``rmse`` and the shares below thresholds as
    in :class:`NormalMetric`, pooled over all pixels at which the depth has a normal. Exact
    maps are not at 0: a pixel on a thin or strongly curved object has no plane to take a
    slope from. On rooms of 240x320, ground truth scores a mean below 1 degree and a
    median below 0.01.

    Disparity and inverse depth serve as well as metres. Pictures without ``intrinsics`` in
    their meta information are an error.

    Args:
        tasks (Mapping): The tasks of the config, ``depth`` and ``normal`` among them.
        thresholds (Sequence[float]): Degrees.
        prefix (str): Prefix of the results.

    Raises:
        KeyError: If a task is missing, or the intrinsics of a picture.
    """

    def __init__(
        self,
        tasks: Mapping[str, Any],
        thresholds: Sequence[float] = (11.25, 22.5, 30.0),
        prefix: str = 'normal_depth',
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(prefix, collect_device)
        self.tasks = need_tasks(type(self).__name__, tasks, ('depth', 'normal'))
        self.angles = NormalMetric(thresholds, task=self.tasks['normal'])
        self.higher_is_better = self.angles.higher_is_better
        self.percent, self.unit = self.angles.percent, self.angles.unit

    @property
    def protocol(self) -> str:
        return 'predicted normals against normals of predicted depth, pooled over pixels'

    def count(self, sample: Sample) -> Added:
        who = type(self).__name__
        depth = predicted(who, self.tasks['depth'], sample)
        normal = predicted(who, self.tasks['normal'], sample)
        if depth is None or normal is None:
            return {}
        if 'intrinsics' not in sample:
            raise KeyError(
                f'{who}: {name_of(sample)} has no `intrinsics` in its meta information. Use a '
                'data set that knows its camera, or drop the metric.'
            )
        found = self._normals(depth, native_intrinsics(sample, depth.shape))
        return self.angles.update(normal, found, (found != 0).any(axis=-1))

    def _normals(self, depth: Array, intrinsics: Array) -> Array:
        if getattr(self.tasks['depth'], 'kind', 'metric') == 'metric':
            return normals_from_depth(depth, intrinsics)
        return normals_from_inverse_depth(np.asarray(depth), intrinsics)

    def compute(self, counters: Counters) -> dict[str, float]:
        return self.angles.compute(counters)
