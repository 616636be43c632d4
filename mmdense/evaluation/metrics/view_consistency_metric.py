"""Whether predictions for two calibrated views of one scene describe the same scene."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdense.datasets.rooms.camera import back_project, project
from mmdense.evaluation.geometry import native_intrinsics
from mmdense.registry import METRICS
from mmdense.tasks import build_tasks

from .base import Array, Sample, StampedMetric, as_mapping, map_of, map_to_array, name_of, ratio
from .consistency import need_tasks, predicted


@METRICS.register_module()
class ViewConsistencyMetric(StampedMetric):
    """Agreement of predicted depth, and labels, of two views with known cameras.

    Ground truth says which point of the other view a pixel shows: its point is moved with
    its true depth and counts if the true depth found there agrees to ``tolerance`` (else
    something else hides it). What is compared are predictions. The point at the *predicted*
    depth of the pixel has a depth in the other view; ``depth_rel`` is the mean relative
    difference to the depth predicted there, ``depth_same`` the share of pixels where it is
    below 5 %. ``semseg_same`` is the share whose label is that of one of the four pixels
    around the point. Both directions of all pairs are pooled; ``compared`` is the share of
    pixels that have a counterpart.

    Depth is read off between pixels by interpolating its inverse, which is exact on
    planes. Ground truth scores a ``depth_rel`` below 0.001, ``depth_same`` of 1 and
    ``semseg_same`` above 0.999 on rooms.

    Samples need ``pair_id``, ``view`` (0 or 1), ``intrinsics`` and ``pose`` (camera to world,
    ``(4, 4)``) in their meta information, as
    :class:`~mmdense.datasets.RoomsDataset` with ``views='both'`` gives them, and ground truth
    of ``depth``. The views of a pair may come in any order, batch and process; a view
    without its counterpart is left out.

    Args:
        tasks (Mapping): The tasks of the config, ``depth`` among them; ``semseg`` is scored
            if it is there.
        tolerance (float): Relative difference of true depths up to which a point is visible.
        prefix (str): Prefix of the results.

    Raises:
        KeyError: If ``depth`` is missing, or the camera of a view.
        ValueError: If depth is not metric.
    """

    def __init__(
        self,
        tasks: Mapping[str, Any],
        tolerance: float = 0.02,
        prefix: str = 'views',
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.depth = need_tasks(type(self).__name__, tasks, ('depth',))['depth']
        kind = getattr(self.depth, 'kind', 'metric')
        if kind != 'metric':
            raise ValueError(
                f"ViewConsistencyMetric moves points in metres; tasks['depth'].kind is "
                f"'{kind}'. Use it with kind='metric'."
            )
        self.semseg = build_tasks(tasks).get('semseg')
        self.tolerance = tolerance
        shares = ['depth_same', *(('semseg_same',) if self.semseg else ()), 'compared']
        self.higher_is_better = dict(dict(depth_rel=False), **dict.fromkeys(shares, True))
        self.percent = frozenset(shares)

    @property
    def protocol(self) -> str:
        return (
            'two views, both directions, pixels pooled, visible if true depths agree to '
            f'{100 * self.tolerance:g} %'
        )

    def process(self, data_batch: Any, data_samples: Sequence[Sample]) -> None:
        for sample in map(as_mapping, data_samples):
            self.results.append(self._view(sample))

    def _view(self, sample: Sample) -> dict[str, Any] | None:
        """What of a sample is kept until its counterpart is there; None: nothing to compare."""
        who = type(self).__name__
        truth = map_of(sample, 'gt', self.depth)
        depth = predicted(who, self.depth, sample)
        if depth is None or truth is None or 'pair_id' not in sample:
            return None
        missing = [key for key in ('view', 'pose', 'intrinsics') if key not in sample]
        if missing:
            raise KeyError(
                f'{who}: {name_of(sample)} has a `pair_id` but no {", ".join(missing)} in its '
                'meta information. PackDenseInputs passes them on if the data set gives them.'
            )
        labels = None if self.semseg is None else predicted(who, self.semseg, sample)
        return dict(
            pair=sample['pair_id'],
            view=int(sample['view']),
            pose=np.asarray(sample['pose'], np.float64),
            intrinsics=native_intrinsics(sample, depth.shape),
            depth=depth.astype(np.float32),
            truth=map_to_array(truth).astype(np.float32),
            labels=labels,
        )

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        pairs: dict[str, dict[int, dict[str, Any]]] = {}
        for view in results:
            if view is not None:
                pairs.setdefault(view['pair'], {})[view['view']] = view
        rows = [
            self._compare(views[a], views[b])
            for views in pairs.values()
            for a, b in ((0, 1), (1, 0))
            if a in views and b in views
        ]
        total, compared, error, same, labels = map(math.fsum, zip(*rows)) if rows else [0.0] * 5
        values = dict(depth_rel=ratio(error, compared), depth_same=ratio(same, compared))
        if self.semseg is not None:
            values['semseg_same'] = ratio(labels, compared)
        return dict(values, compared=ratio(compared, total))

    def _compare(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[float, ...]:
        """Pixels, pixels compared, summed relative difference, depths and labels that agree."""
        move = np.linalg.inv(other['pose']) @ one['pose']
        at, depth = project(_moved(one['truth'], one, move), other['intrinsics'])
        reached = _interpolate_depth(other['truth'], at)
        with np.errstate(invalid='ignore'):  # NaN, an unknown depth, agrees with nothing
            visible = (one['truth'] > 0) & (depth > 0)
            visible &= np.abs(depth - reached) <= self.tolerance * reached
            there = _interpolate_depth(other['depth'], at)
            moved = -_moved(one['depth'], one, move)[..., 2]
            relative = np.abs(moved - there) / there
        # A predicted depth that is not positive is as wrong as a depth can be.
        relative = np.nan_to_num(relative[visible], nan=1.0)
        agree = 0
        if one['labels'] is not None and other['labels'] is not None:
            agree = int(_same_label(one['labels'], other['labels'], at, visible).sum())
        return (
            visible.size, relative.size, float(relative.sum()), int((relative < 0.05).sum()), agree
        )  # fmt: skip


def _moved(depth: Array, view: Mapping[str, Any], move: Array) -> Array:
    """Points of a depth map in the camera of the other view, ``(H, W, 3)``."""
    return back_project(depth, view['intrinsics']) @ move[:3, :3].T + move[:3, 3]


def _corners(at: Array, size: tuple[int, int]) -> tuple[Array, Array, Array, Array, Array]:
    """The four pixels around positions (u, v), whether all are inside, and the fractions."""
    x, y = at[..., 0] - 0.5, at[..., 1] - 0.5
    with np.errstate(invalid='ignore'):
        inside = (x >= 0) & (y >= 0) & (x <= size[1] - 1) & (y <= size[0] - 1)
    x, y = np.where(inside, x, 0), np.where(inside, y, 0)
    col = np.minimum(x.astype(np.int64), size[1] - 2)
    row = np.minimum(y.astype(np.int64), size[0] - 2)
    return row, col, inside, x - col, y - row


def _interpolate_depth(depth: Array, at: Array) -> Array:
    """Depth between pixels, linear in its inverse; NaN where one of the four is unknown."""
    row, col, inside, fx, fy = _corners(at, depth.shape)
    with np.errstate(divide='ignore'):
        inverse = np.where(depth > 0, 1 / depth.astype(np.float64), np.nan)
    top = inverse[row, col] * (1 - fx) + inverse[row, col + 1] * fx
    bottom = inverse[row + 1, col] * (1 - fx) + inverse[row + 1, col + 1] * fx
    return np.where(inside, 1 / (top * (1 - fy) + bottom * fy), np.nan)


def _same_label(one: Array, other: Array, at: Array, visible: Array) -> Array:
    row, col, *_ = _corners(at[visible], other.shape)
    mine = one[visible]
    around = [other[row + i, col + j] == mine for i in (0, 1) for j in (0, 1)]
    return np.logical_or.reduce(around)
