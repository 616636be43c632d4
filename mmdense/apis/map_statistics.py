"""What the values of a task look like over a data set: counts that add up over pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmdense.tasks import BaseTask, BinaryTask, Depth, LabelTask, Normal

Array = np.ndarray

#: Vectors this far from unit length count as damaged.
NORM_TOLERANCE = 0.05
#: Share of damaged or contradicting pixels above which a data set is wrong.
_MAX_SHARE = 0.01
#: Pixels without which the sign of an axis says nothing.
_MIN_PIXELS = 1000
_LOG_BINS = np.geomspace(1e-5, 1e5, 2001)
_SHARE_BINS = 200
#: Pictures whose mean normal tells up from down; of a few it may be a ceiling's.
_MANY = 100
_PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


class MapStatistics(ABC):
    """Statistics of one task.

    Args:
        task (BaseTask): The task.
    """

    def __init__(self, task: BaseTask) -> None:
        self.task = task
        self.pictures = 0
        self.pixels = 0
        self.known = 0

    def update(self, gt: Array, extra: dict[str, Array]) -> None:
        """Count one picture; ``extra`` holds other maps of it that bear on this one."""
        valid = self.task.valid(gt)
        self.pictures += 1
        self.pixels += valid.size
        self.known += int(valid.sum())
        self.count(gt, valid, extra)

    @abstractmethod
    def count(self, gt: Array, valid: Array, extra: dict[str, Array]) -> None:
        """Count the values of one picture."""

    def merge(self, other: MapStatistics) -> None:
        """Add the counts of another part of the data set."""
        for name, value in vars(other).items():
            if isinstance(value, (int, float, np.ndarray)):
                setattr(self, name, getattr(self, name) + value)

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON."""
        return dict(known_share=_share(self.known, self.pixels))

    def problems(self) -> list[str]:
        """What cannot be right."""
        return [] if self.known else ['no pixel is known']

    @abstractmethod
    def lines(self) -> list[str]:
        """The values in a few words each."""

    @abstractmethod
    def draw(self, axes: Any) -> None:
        """A histogram on axes of matplotlib."""


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


class LabelStatistics(MapStatistics):
    """Pixels of each class."""

    def __init__(self, task: BaseTask, classes: Sequence[str] | None = None) -> None:
        super().__init__(task)
        self.classes: tuple[str, ...] = tuple(classes or getattr(task, 'classes', None) or ())
        self.counts = np.zeros(256, np.int64)

    def count(self, gt: Array, valid: Array, extra: dict[str, Array]) -> None:
        self.counts += np.bincount(gt.ravel(), minlength=256)

    def shares(self) -> dict[str, float]:
        """Share of the known pixels of each class."""
        return {
            name: _share(int(self.counts[i]), self.known) for i, name in enumerate(self.classes)
        }

    def as_dict(self) -> dict[str, Any]:
        counts = {name: int(self.counts[i]) for i, name in enumerate(self.classes)}
        return dict(super().as_dict(), counts=counts, unknown=int(self.counts[255]))

    def lines(self) -> list[str]:
        ranked = sorted(self.shares().items(), key=lambda item: -item[1])
        found = [f'{name} {100 * share:.1f} %' for name, share in ranked[:5] if share]
        absent = [name for name, share in ranked if not share]
        lines = ['most frequent: ' + ', '.join(found)]
        if absent:
            more = f' and {len(absent) - 6} more' if len(absent) > 6 else ''
            lines.append(f'classes that never occur: {", ".join(absent[:6])}{more}')
        return lines

    def draw(self, axes: Any) -> None:
        shares = self.shares()
        axes.bar(range(len(shares)), [100 * share for share in shares.values()])
        axes.set_yscale('log')
        # Half of the rarest class, so that its bar shows.
        axes.set_ylim(bottom=50 * min((share for share in shares.values() if share), default=1))
        axes.set_ylabel('% of known pixels')
        few = len(shares) <= 45
        axes.set_xticks(range(len(shares)) if few else [], list(shares) if few else [])
        axes.tick_params(axis='x', labelrotation=90, labelsize=7)


class ValueStatistics(MapStatistics):
    """Distribution of positive numbers: depth in any of its quantities, regression targets."""

    def __init__(self, task: BaseTask, unit: str = '') -> None:
        super().__init__(task)
        self.unit = unit
        # The first counts zeros: disparities at infinity, pixels without texture.
        self.counts = np.zeros(len(_LOG_BINS) + 1, np.int64)

    def count(self, gt: Array, valid: Array, extra: dict[str, Array]) -> None:
        values = np.abs(gt[valid]).ravel()
        self.counts += np.bincount(
            np.searchsorted(_LOG_BINS, values, side='right'), minlength=len(self.counts)
        )

    def percentiles(self) -> dict[int, float]:
        """Percentiles of the absolute values, to 1.2 %."""
        below = np.cumsum(self.counts)
        edges = np.concatenate([[0.0], np.sqrt(_LOG_BINS[:-1] * _LOG_BINS[1:]), [_LOG_BINS[-1]]])
        at = [int(np.searchsorted(below, below[-1] * p / 100)) for p in _PERCENTILES]
        return {p: float(edges[min(i, len(edges) - 1)]) for p, i in zip(_PERCENTILES, at)}

    def as_dict(self) -> dict[str, Any]:
        found = np.flatnonzero(self.counts)
        low, high = (found[0], found[-1] + 1) if found.size else (0, 0)
        histogram = dict(
            # Bin 0 holds what is below the first edge, zeros above all.
            edges=[0.0, *_LOG_BINS.tolist(), 1e308][low : high + 1],
            counts=self.counts[low:high].tolist(),
        )
        return dict(
            super().as_dict(),
            percentiles=self.percentiles(),
            histogram=histogram,
            unit=self.unit,
        )

    def lines(self) -> list[str]:
        found = self.percentiles()
        values = ', '.join(f'{p} %: {value:.3g}' for p, value in found.items())
        return [f'percentiles{f" in {self.unit}" if self.unit else ""}: {values}']

    def draw(self, axes: Any) -> None:
        found = np.flatnonzero(self.counts)
        if not found.size:
            return
        low, high = max(found[0], 1), max(found[-1], 2)
        edges = _LOG_BINS[low - 1 : high + 1]
        axes.stairs(self.counts[low : high + 1], edges, fill=True)
        axes.set_xscale('log')
        axes.xaxis.set_major_formatter('{x:g}')
        # Labels between the powers of ten have room where there are few of those.
        axes.xaxis.set_minor_formatter('{x:g}' if edges[-1] < 20 * edges[0] else '')
        zeros = 100 * _share(int(self.counts[0]), int(self.counts.sum()))
        note = f'; not drawn: {zeros:.1f} % that are 0' if zeros else ''
        axes.set_xlabel((self.unit or 'value') + note)
        axes.set_ylabel('pixels')


class DepthStatistics(ValueStatistics):
    """Distribution of depth, or of what stands for it."""

    def problems(self) -> list[str]:
        found = super().problems()
        median = self.percentiles()[50]
        if self.known and self.unit == 'm' and not 0.05 < median < 500:
            found.append(
                f'the median depth is {median:.3g} m: the unit on disk is another one (millimetres '
                'are 1000 times larger)'
            )
        return found


class ShareStatistics(MapStatistics):
    """Share of the pixels that are one, of a map of zeros and ones."""

    def __init__(self, task: BaseTask) -> None:
        super().__init__(task)
        self.ones = 0
        self.counts = np.zeros(_SHARE_BINS, np.int64)

    def count(self, gt: Array, valid: Array, extra: dict[str, Array]) -> None:
        known, ones = int(valid.sum()), int((gt == 1).sum())
        self.ones += ones
        if known:
            self.counts[min(_SHARE_BINS * ones // known, _SHARE_BINS - 1)] += 1

    def as_dict(self) -> dict[str, Any]:
        return dict(
            super().as_dict(),
            positive_share=_share(self.ones, self.known),
            pictures_by_share=self.counts.tolist(),
        )

    def problems(self) -> list[str]:
        found = super().problems()
        share = _share(self.ones, self.known)
        if self.known and not 0 < share < 0.9:
            found.append(f'{100 * share:.1f} % of the known pixels are positive')
        return found

    def lines(self) -> list[str]:
        return [f'positive: {100 * _share(self.ones, self.known):.2f} % of the known pixels']

    def draw(self, axes: Any) -> None:
        last = int(np.flatnonzero(self.counts).max(initial=0)) + 1
        edges = np.linspace(0, 100, _SHARE_BINS + 1)
        axes.stairs(self.counts[:last], edges[: last + 1], fill=True)
        axes.set_xlim(0)
        axes.set_xlabel('% positive in a picture')
        axes.set_ylabel('pictures')


class NormalStatistics(MapStatistics):
    """Components of normals, their length on disk, and whether the axes are the right ones."""

    def __init__(self, task: BaseTask) -> None:
        super().__init__(task)
        self.sums = np.zeros(3)
        self.counts = np.zeros((3, 64), np.int64)
        self.off, self.measured = 0, 0
        # Pixels whose x, y agree in sign with the slope of the depth, and all that tell.
        self.agree, self.tell = np.zeros(2, np.int64), np.zeros(2, np.int64)

    def count(self, gt: Array, valid: Array, extra: dict[str, Array]) -> None:
        normals = gt[valid].astype(np.float64)
        unit = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
        self.sums += unit.sum(0)
        bins = np.clip(((unit + 1) * 32).astype(int), 0, 63)
        for axis in range(3):
            self.counts[axis] += np.bincount(bins[:, axis], minlength=64)
        if 'stored_length' in extra and extra['stored_length'].shape == valid.shape:
            length = extra['stored_length'][valid]
            self.measured += length.size
            self.off += int((np.abs(length - 1) > NORM_TOLERANCE).sum())
        if 'inverse_depth' in extra:
            agree, tell = axis_agreement(gt, valid, extra['inverse_depth'])
            self.agree += agree
            self.tell += tell

    @property
    def mean(self) -> Array:
        """Mean of the unit vectors ``(3,)``."""
        return self.sums / max(self.known, 1)

    def as_dict(self) -> dict[str, Any]:
        agreement = [_share(int(a), int(t)) if t else None for a, t in zip(self.agree, self.tell)]
        return dict(
            super().as_dict(),
            mean=self.mean.tolist(),
            histograms={axis: counts.tolist() for axis, counts in zip('xyz', self.counts)},
            share_not_unit=_share(self.off, self.measured) if self.measured else None,
            agreement_with_depth=dict(zip('xy', agreement)),
        )

    def problems(self) -> list[str]:
        found = super().problems()
        if self.measured and _share(self.off, self.measured) > _MAX_SHARE:
            found.append(
                f'{100 * _share(self.off, self.measured):.1f} % of the vectors on disk have a '
                f'length outside 1 +- {NORM_TOLERANCE}'
            )
        if self.known and self.mean[2] < 0:
            found.append(
                f'the mean z is {self.mean[2]:.2f}: surfaces seem to face away from the camera'
            )
        if not self.tell.any() and self.pictures >= _MANY and self.mean[1] < -0.02:
            found.append(
                f'the mean y is {self.mean[1]:.2f}, though floors outnumber ceilings in pictures: '
                'y seems to point down on disk (`normal_axes`)'
            )
        for axis, (agree, tell) in enumerate(zip(self.agree, self.tell)):
            if tell >= _MIN_PIXELS and agree < 0.5 * tell:
                found.append(
                    f'{"xy"[axis]} has the sign of the slope of the depth at '
                    f'{100 * agree / tell:.0f} % of {tell} pixels: the axis on disk points the '
                    'other way (`normal_axes`)'
                )
        return found

    def lines(self) -> list[str]:
        x, y, z = self.mean
        lines = [f'mean: x {x:+.3f}, y {y:+.3f}, z {z:+.3f}']
        if self.measured:
            lines.append(f'not of unit length: {100 * _share(self.off, self.measured):.2f} %')
        told = [
            f'{name} {100 * agree / tell:.0f} %'
            for name, agree, tell in zip('xy', self.agree, self.tell)
            if tell
        ]
        if told:
            lines.append(f'signs as the slope of the depth: {", ".join(told)}')
        elif y < 0:
            lines.append('mean y < 0: more ceilings than floors, or y points down on disk')
        return lines

    def draw(self, axes: Any) -> None:
        edges = np.linspace(-1, 1, 65)
        for name, counts in zip('xyz', self.counts):
            axes.stairs(counts, edges, label=name)
        axes.set_yscale('symlog', linthresh=10)
        axes.set_xlabel('component (y up, z towards the camera)')
        axes.set_ylabel('pixels')
        axes.legend()


def axis_agreement(normals: Array, valid: Array, inverse: Array) -> tuple[Array, Array]:
    """Pixels whose normal leans the way that the depth says.

    On a plane inverse depth grows against x of its normal to the right, and with y of it
    downwards, whatever the camera. Only pixels tell that lean clearly and lie on a smooth
    surface.

    Args:
        normals (Array): ``(H, W, 3)``, x right, y up, z towards the camera.
        valid (Array): ``(H, W)`` bool.
        inverse (Array): ``(H, W)`` inverse depth in any unit, 0 or less unknown.

    Returns:
        tuple: Pixels that agree and pixels that tell, ``(2,)`` each, for x and y.
    """
    agree, tell = np.zeros(2, np.int64), np.zeros(2, np.int64)
    for axis, sign in ((1, -1), (0, 1)):
        middle = [slice(None), slice(None)]
        before, after = list(middle), list(middle)
        before[axis], middle[axis], after[axis] = slice(None, -2), slice(1, -1), slice(2, None)
        low, here, high = (inverse[tuple(part)] for part in (before, middle, after))
        slope = (high - low) / 2
        # A bend as large as the slope is an edge or noise.
        smooth = np.abs(high + low - 2 * here) < 0.5 * np.abs(slope)
        known = (low > 0) & (here > 0) & (high > 0) & valid[tuple(middle)]
        lean = normals[tuple(middle)][..., 1 - axis]
        telling = known & smooth & (np.abs(lean) > 0.2) & (np.abs(slope) < 0.05 * here)
        tell[1 - axis] += telling.sum()
        agree[1 - axis] += (telling & (np.sign(slope) * sign == np.sign(lean))).sum()
    return agree, tell


def statistics_of(task: BaseTask, classes: Sequence[str] | None = None) -> MapStatistics:
    """The statistics that fit a task; ``classes`` are the names that its data set gives."""
    if isinstance(task, LabelTask):
        return LabelStatistics(task, classes)
    if isinstance(task, Depth):
        return DepthStatistics(task, task.unit)
    if isinstance(task, Normal):
        return NormalStatistics(task)
    if isinstance(task, BinaryTask):
        return ShareStatistics(task)
    return ValueStatistics(task)
