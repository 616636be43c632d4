"""Whether predicted boundaries run where the predicted segmentation changes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from mmdense.evaluation.boundary import gt_boundaries
from mmdense.evaluation.counters import Counters
from mmdense.registry import METRICS

from .base import Array, ExactMetric, Sample, ratio
from .consistency import need_tasks, predicted


@METRICS.register_module()
class BoundarySegmentationAgreement(ExactMetric):
    """Agreement of predicted boundaries with the edges of the predicted segmentation.

    No ground truth enters. An edge is a pixel whose label differs from that of its east,
    south or south-east neighbour; a boundary is a pixel whose probability reaches
    ``threshold``. ``edges_found`` is the share of edges with a boundary within the
    tolerance, ``boundaries_used`` the share of boundaries with an edge within it, ``agreement``
    their harmonic mean; pixels are pooled over all pictures. Where every class change is a
    boundary, perfect predictions find all edges; boundaries between two objects of
    one class have no edge, so that the second share stays below 1.

    Args:
        tasks (Mapping): The tasks of the config, ``boundary`` and ``semseg`` among them.
        threshold (float): Probability of a boundary.
        max_dist (float): Tolerance as a share of the picture's diagonal.
        prefix (str): Prefix of the results.

    Raises:
        KeyError: If a task is missing.
        ValueError: If ``max_dist`` is negative.
    """

    higher_is_better = dict(edges_found=True, boundaries_used=True, agreement=True)
    percent = frozenset(higher_is_better)

    def __init__(
        self,
        tasks: Mapping[str, Any],
        threshold: float = 0.5,
        max_dist: float = 0.0075,
        prefix: str = 'boundary_semseg',
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(prefix, collect_device)
        if max_dist < 0:
            raise ValueError(
                f'BoundarySegmentationAgreement.max_dist is {max_dist}; give a share of the '
                'diagonal, 0 or more.'
            )
        self.tasks = need_tasks(type(self).__name__, tasks, ('boundary', 'semseg'))
        self.threshold, self.max_dist = threshold, max_dist

    @property
    def protocol(self) -> str:
        return (
            f'boundaries p >= {self.threshold:g} against edges of predicted labels, tolerance '
            f'{self.max_dist:g} of the diagonal, pixels pooled'
        )

    def count(self, sample: Sample) -> Counters:
        who = type(self).__name__
        probability = predicted(who, self.tasks['boundary'], sample)
        labels = predicted(who, self.tasks['semseg'], sample)
        if probability is None or labels is None:
            return {}
        boundary, edge = probability >= self.threshold, gt_boundaries(labels)
        tolerance = self.max_dist * math.hypot(*edge.shape)
        return dict(
            edges=_near(edge, boundary, tolerance), boundaries=_near(boundary, edge, tolerance)
        )

    def compute(self, counters: Counters) -> dict[str, float]:
        found, used = (ratio(*counters[name].tolist()) for name in ('edges', 'boundaries'))
        total = found + used
        agreement = 2 * found * used / total if total else total
        return dict(edges_found=found, boundaries_used=used, agreement=agreement)


def _near(pixels: Array, others: Array, tolerance: float) -> Array:
    """``(2,)``: how many of ``pixels`` have one of ``others`` within ``tolerance``; all of them."""
    total = int(pixels.sum())
    if not total or not others.any():
        return np.asarray([0, total])
    return np.asarray([int((distance_transform_edt(~others)[pixels] <= tolerance).sum()), total])
