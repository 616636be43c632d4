"""Counters that add up exactly, in any order and over any number of processes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.logging import print_log

Counters = dict[str, np.ndarray]


@dataclass(frozen=True)
class Values:
    """Numbers of a picture that are needed one by one, for a median.

    Args:
        array (np.ndarray): ``(N,)``; pictures may differ in N.
        limit (int): They are given up once there are more, over all pictures and processes.
    """

    array: np.ndarray
    limit: int


#: What one picture adds.
Added = Mapping[str, 'np.ndarray | Values']
#: Per key: how many values there were, how many are kept at most, and those that are.
Kept = dict[str, tuple[int, int, list[np.ndarray]]]


class ExactCounters:
    """Sums per-picture counters without rounding that depends on order.

    Integer arrays are added. Float arrays are kept per picture and added with
    ``math.fsum``, which rounds once, so the result is bit-equal for every batch size,
    order and number of processes. :class:`Values` become one sorted array, or are missing
    from the total where there were too many.

    In distributed evaluation the sampler pads: the last picture of a process may be a
    repetition. The last picture is therefore held apart and dropped by :meth:`total`
    if this process saw one picture more than its share.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._sums: Counters = {}
        self._rows: dict[str, list[np.ndarray]] = {}
        self._values: Kept = {}
        self._last: Added | None = None
        self._count = 0

    def add(self, counters: Added) -> None:
        """Add the counters of one picture; the same keys and shapes every time.

        A picture without labels adds an empty mapping, which keeps the count right.
        """
        self._flush()
        self._last = counters
        self._count += 1

    def _flush(self) -> None:
        if self._last is None:
            return
        for key, value in self._last.items():
            if isinstance(value, Values):
                one = (len(value.array), value.limit, [value.array])
                self._values[key] = _join(self._values.get(key), one)
                continue
            array = np.asarray(value)
            if np.issubdtype(array.dtype, np.floating):
                self._rows.setdefault(key, []).append(array.astype(np.float64))
            elif key in self._sums:
                self._sums[key] += array
            else:
                self._sums[key] = array.astype(np.int64)
        self._last = None

    def total(self, size: int) -> Counters:
        """The sums over all processes; the counters start afresh afterwards.

        Args:
            size (int): Number of pictures in the data set.
        """
        rank, world = get_rank(), get_world_size()
        share = max(0, math.ceil((size - rank) / world))
        if self._count == share + 1:
            self._last = None
        elif self._count != share:
            print_log(
                f'Evaluation saw {self._count} pictures in process {rank} where {share} of '
                f'{size} were due; sampler padding cannot be trimmed, so some pictures may '
                'count twice. Use DefaultSampler(shuffle=False) for evaluation.',
                logger='current',
                level=30,
            )
        self._flush()
        parts = all_gather_object((self._sums, self._rows, self._values))
        self.reset()
        return _merge(parts)


def _join(one: tuple[int, int, list] | None, other: tuple[int, int, list]) -> tuple[int, int, list]:
    if one is None:
        return other
    number, limit = one[0] + other[0], other[1]
    return number, limit, one[2] + other[2] if number <= limit else []


def _merge(parts: list[tuple[Counters, dict[str, list[np.ndarray]], Kept]]) -> Counters:
    total: Counters = {}
    rows: dict[str, list[np.ndarray]] = {}
    kept: Kept = {}
    for sums, own_rows, own_values in parts:
        for key, entry in own_values.items():
            kept[key] = _join(kept.get(key), entry)
        for key, value in sums.items():
            total[key] = total[key] + value if key in total else value
        for key, values in own_rows.items():
            rows.setdefault(key, []).extend(values)
    for key, values in rows.items():
        table = np.stack(values).reshape(len(values), -1)
        flat = [math.fsum(column) for column in table.T]
        total[key] = np.asarray(flat).reshape(values[0].shape)
    for key, (number, limit, arrays) in kept.items():
        if number <= limit:
            total[key] = np.sort(np.concatenate(arrays))
    return total
