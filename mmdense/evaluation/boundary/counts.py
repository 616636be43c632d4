"""Counters of one picture: boundary pixels and matches at every threshold."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator

import numpy as np

from mmdense.utils import ShapeError
from mmdense.utils.thinning import thin, thin_levels

from .matching import find_candidates, maximum_matching
from .nms import require_levels, suppress_non_maxima
from .sweep import MatchingSweep

Array = np.ndarray

#: Columns of the counters: matched and all true pixels, matched and all predicted pixels.
COLUMNS = ('cntR', 'sumR', 'cntP', 'sumP')


def default_thresholds(nms: bool) -> Array:
    """0.01 .. 0.99, between 0.001 and 0.999 if the map went through suppression."""
    # k / 100, not a running sum: 51 / 255 and 0.2 must be the same number.
    inner = np.arange(1, 100) / 100
    return np.r_[0.001, inner, 0.999] if nms else inner


@dataclasses.dataclass(frozen=True)
class BoundaryProtocol:
    """What fixes the counters of a picture.

    Args:
        max_dist (float): Reach of a match as a share of the picture's diagonal. 0.0075 is
            usual for PASCAL-Context, 0.011 for NYUD-v2.
        nms (bool): Whether the map is thinned by non-maximum suppression and a pixel is on
            if ``p > t``; otherwise the map is taken as it is and a pixel is on if
            ``p >= t``.
        thresholds (tuple[float, ...] | None): Ascending, in (0, 1). None:
            :func:`default_thresholds`.

    Raises:
        ValueError: If ``max_dist`` is not positive or the thresholds are not ascending
            numbers between 0 and 1.
    """

    max_dist: float = 0.011
    nms: bool = True
    thresholds: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.max_dist < 1:
            raise ValueError(
                f'boundary matching: `max_dist` is {self.max_dist}, expected a share of the '
                "picture's diagonal between 0 and 1, such as 0.0075 or 0.011."
            )
        chosen = default_thresholds(self.nms) if self.thresholds is None else self.thresholds
        object.__setattr__(self, 'thresholds', tuple(float(t) for t in chosen))
        values = self.grid
        inside = len(values) > 0 and values[0] > 0 and values[-1] < 1
        # `not ... all` rather than `any`: NaN must fail.
        if not (inside and (np.diff(values) > 0).all()):
            raise ValueError(
                f'boundary matching: `thresholds` is {self.thresholds}, expected ascending '
                'numbers between 0 and 1, both excluded.'
            )

    @property
    def grid(self) -> Array:
        """The thresholds, ``(K,)``."""
        return np.asarray(self.thresholds, np.float64)

    def tolerance(self, shape: tuple[int, int]) -> float:
        """Reach of a match in pixels."""
        return self.max_dist * math.sqrt(shape[0] ** 2 + shape[1] ** 2)


def gt_boundaries(labels: Array) -> Array:
    """Boundaries of a label map: pixels that differ from the one east, south or south-east.

    The last row looks east only, the last column south only, the last pixel nowhere.

    Args:
        labels (Array): ``(H, W)`` integers.

    Returns:
        Array: ``(H, W)`` bool.

    Example:
        >>> gt_boundaries(np.array([[0, 0, 1], [0, 0, 1]])).astype(int).tolist()
        [[0, 1, 0], [0, 1, 0]]
    """
    labels = np.asarray(labels)
    # Repeating the last row and column makes neighbours outside equal to ones inside that
    # the rule looks at anyway.
    wide = np.pad(labels, ((0, 1), (0, 1)), mode='edge')
    here, east, south, both = labels, wide[:-1, 1:], wide[1:, :-1], wide[1:, 1:]
    differs: Array = (here != east) | (here != south) | (here != both)
    return differs


def true_boundaries(labels: Array) -> Array:
    """:func:`gt_boundaries`, thinned to lines one pixel wide."""
    edges = gt_boundaries(labels)
    index, _ = thin_levels(edges.astype(np.intp), 1)
    thinned = np.zeros(edges.shape, bool)
    thinned.flat[index] = True
    return thinned


def _of_one_size(levels: Array, truth: Array) -> tuple[Array, Array]:
    levels, truth = np.asarray(levels), np.asarray(truth)
    if levels.shape != truth.shape:
        raise ShapeError(
            f'boundary matching: prediction {levels.shape} and truth {truth.shape}, expected '
            'two maps (H, W) of one size. Crop padding and resize before counting.'
        )
    return levels, truth


def boundary_map(levels: Array, protocol: BoundaryProtocol, known: Array | None = None) -> Array:
    """The map that thresholds are applied to.

    Args:
        levels (Array): ``(H, W)`` uint8, probability times 255, truncated.
        protocol (BoundaryProtocol): Whether to suppress non-maxima.
        known (Array | None): ``(H, W)`` bool; elsewhere the truth is unknown and nothing is
            predicted.

    Returns:
        Array: ``(H, W)`` float64 in [0, 1].

    Raises:
        ShapeError: If ``levels`` is not ``(H, W)``.
        DataError: If ``levels`` is not uint8.
    """
    levels = np.asarray(levels)
    require_levels(levels)
    p = suppress_non_maxima(levels) if protocol.nms else levels / 255.0
    return p if known is None else np.where(known, p, 0)


def thresholds_reached(p: Array, protocol: BoundaryProtocol) -> Array:
    """How many thresholds each pixel passes: it is on in the maps 0 .. reached - 1."""
    side = 'left' if protocol.nms else 'right'
    return np.searchsorted(protocol.grid, p, side=side)  # type: ignore[call-overload]


def count_matches(
    levels: Array, truth: Array, protocol: BoundaryProtocol, known: Array | None = None
) -> Array:
    """Counters of one picture at all thresholds.

    Args:
        levels (Array): ``(H, W)`` uint8, predicted probability times 255, truncated.
        truth (Array): ``(H, W)`` bool, true boundaries, one pixel wide.
        protocol (BoundaryProtocol): Tolerance, suppression and thresholds.
        known (Array | None): ``(H, W)`` bool; predictions elsewhere are left out.

    Returns:
        Array: ``(K, 4)`` int64, columns :data:`COLUMNS`; equal to
        :func:`count_matches_plain`.

    Raises:
        ShapeError: If ``levels`` and ``truth`` are not ``(H, W)`` of one size.
        DataError: If ``levels`` is not uint8.
    """
    levels, truth = _of_one_size(levels, truth)
    reached = thresholds_reached(boundary_map(levels, protocol, known), protocol)
    rank, map_of_threshold = distinct_maps(reached, len(protocol.grid))
    index, words = thin_levels(rank, int(rank.max(initial=0)))
    return count_thinned(index, words, truth, protocol, map_of_threshold)


def distinct_maps(reached: Array, count: int) -> tuple[Array, Array]:
    """Number the different binary maps among those of all thresholds.

    Args:
        reached (Array): ``(H, W)`` as from :func:`thresholds_reached`.
        count (int): Number of thresholds.

    Returns:
        tuple[Array, Array]: ``(H, W)`` how many different maps hold a pixel, and ``(K,)``
        the number of each threshold's map. The number after the last map is the empty map.
    """
    values = np.flatnonzero(np.bincount(reached.ravel(), minlength=count + 1)[1:]) + 1
    below = np.searchsorted(values, np.arange(count + 1), side='right')
    return below[reached], below[:count]


def count_thinned(
    index: Array,
    words: Array,
    truth: Array,
    protocol: BoundaryProtocol,
    map_of_threshold: Array,
) -> Array:
    """The last step of :func:`count_matches`: match the thinned maps with the truth.

    Args:
        index (Array): Pixels of the thinned maps, from :func:`~mmdense.utils.thinning.thin_levels`.
        words (Array): Their words, from the same.
        truth (Array): As in :func:`count_matches`.
        protocol (BoundaryProtocol): As in :func:`count_matches`.
        map_of_threshold (Array): ``(K,)`` as from :func:`distinct_maps`.
    """
    maps = int(map_of_threshold.max(initial=0)) + 1
    shape = (truth.shape[0], truth.shape[1])
    true_pixels = np.flatnonzero(truth)
    presence = _presence(words, maps)
    pairs = find_candidates(index, true_pixels, shape, protocol.tolerance(shape))
    matched = np.fromiter(MatchingSweep(pairs).run(presence[:, pairs.near]), np.int64, maps)
    predicted = presence.sum(axis=1)
    counts = np.stack(
        [matched, np.full(maps, len(true_pixels)), matched, predicted], axis=1, dtype=np.int64
    )
    return counts[map_of_threshold]


def _presence(words: Array, maps: int) -> Array:
    """Words to ``(maps, N)`` bool: which pixels each map holds."""
    # Little-endian words, so that bit k of a pixel is bit k of its bytes.
    raw = np.ascontiguousarray(words.astype('<u8')).view(np.uint8)
    bits = np.unpackbits(raw, axis=1, bitorder='little')
    out = np.zeros((maps, len(words)), bool)
    held = min(maps, bits.shape[1])
    out[:held] = bits[:, :held].T
    return out


def count_matches_plain(
    levels: Array, truth: Array, protocol: BoundaryProtocol, known: Array | None = None
) -> Array:
    """:func:`count_matches` by the book: every threshold is thinned and matched by itself."""
    levels, truth = _of_one_size(levels, truth)
    return count_thinned_plain(
        thin_plain(boundary_map(levels, protocol, known), protocol), truth, protocol
    )


def thin_plain(p: Array, protocol: BoundaryProtocol) -> list[Array]:
    """The thinned map ``(H, W)`` bool of each threshold."""
    return [thin(p > t if protocol.nms else p >= t) for t in protocol.grid]


def count_thinned_plain(maps: Iterable[Array], truth: Array, protocol: BoundaryProtocol) -> Array:
    """Match each thinned map with the truth; counters ``(K, 4)``."""
    shape = (truth.shape[0], truth.shape[1])
    true_pixels = np.flatnonzero(truth)
    rows = []
    for binary in maps:
        predicted = np.flatnonzero(binary)
        pairs = find_candidates(predicted, true_pixels, shape, protocol.tolerance(shape))
        neighbours = list(_neighbour_lists(pairs.of_gt_start, pairs.of_gt))
        matched = int(np.count_nonzero(maximum_matching(neighbours, pairs.num_pred) >= 0))
        rows.append([matched, len(true_pixels), matched, len(predicted)])
    return np.asarray(rows, np.int64)


def _neighbour_lists(start: Array, values: Array) -> Iterator[list[int]]:
    entries = values.tolist()
    for first, last in zip(start[:-1].tolist(), start[1:].tolist()):
        yield entries[first:last]
