"""Counters that add up exactly, in any order and over any number of processes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.logging import print_log

Counters = dict[str, np.ndarray]


class ExactCounters:
    """Sums per-picture counters without rounding that depends on order.

    Integer arrays are added. Float arrays are kept per picture and added with
    ``math.fsum``, which rounds once, so the result is bit-equal for every batch size,
    order and number of processes.

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
        self._last: Mapping[str, np.ndarray] | None = None
        self._count = 0

    def add(self, counters: Mapping[str, np.ndarray]) -> None:
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
        parts = all_gather_object((self._sums, self._rows))
        self.reset()
        return _merge(parts)


def _merge(parts: list[tuple[Counters, dict[str, list[np.ndarray]]]]) -> Counters:
    total: Counters = {}
    rows: dict[str, list[np.ndarray]] = {}
    for sums, own_rows in parts:
        for key, value in sums.items():
            total[key] = total[key] + value if key in total else value
        for key, values in own_rows.items():
            rows.setdefault(key, []).extend(values)
    for key, values in rows.items():
        table = np.stack(values).reshape(len(values), -1)
        flat = [math.fsum(column) for column in table.T]
        total[key] = np.asarray(flat).reshape(values[0].shape)
    return total
