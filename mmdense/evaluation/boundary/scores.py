"""From counters to ODS, OIS and AP."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Array = np.ndarray


class BoundaryScores(NamedTuple):
    """The numbers of the boundary benchmark, all in [0, 1].

    Attributes:
        ods (float): Best F of one threshold for all pictures.
        ods_precision (float): Precision there.
        ods_recall (float): Recall there.
        ods_threshold (float): The threshold; the lowest of equally good ones.
        ois (float): F if every picture uses its own best threshold.
        ap (float): Average precision.
    """

    ods: float
    ods_precision: float
    ods_recall: float
    ods_threshold: float
    ois: float
    ap: float


def precision_recall(counts: Array) -> tuple[Array, Array]:
    """Precision and recall of counters ``(..., 4)``.

    Nothing predicted: precision 1, recall 0. Otherwise no true boundary: precision 0,
    recall 1. Otherwise no match: both 0.
    """
    matched_gt, all_gt, matched_pred, all_pred = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    precision = matched_pred / np.maximum(all_pred, 1)
    recall = matched_gt / np.maximum(all_gt, 1)
    nothing, pointless = all_pred == 0, all_gt == 0
    precision = np.where(nothing, 1.0, np.where(pointless, 0.0, precision))
    recall = np.where(nothing, 0.0, np.where(pointless, 1.0, recall))
    return precision, recall


def f_measure(counts: Array) -> Array:
    """``2 P R / (P + R)`` of counters ``(..., 4)``, without a match 0."""
    precision, recall = precision_recall(counts)
    total = precision + recall
    f: Array = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    return f


def best_counts(counts: Array) -> Array:
    """Counters ``(4,)`` of one picture at its best threshold, the lowest of equally good ones.

    A picture without true boundary has F = 0 everywhere: it takes the lowest threshold with
    all its false positives, as in the published evaluation.
    """
    best: Array = counts[int(f_measure(counts).argmax())]
    return best


def average_precision(counts: Array) -> float:
    """Mean precision over recalls 0, 0.01 .. 1, linear between the measured ones.

    Beyond the measured recalls the precision is 0. Of equal recalls the lowest threshold
    stands; fewer than two different recalls give 0. The sum of 101 values is divided by
    100, as published evaluations do.
    """
    precision, recall = precision_recall(counts)
    levels, first = np.unique(recall, return_index=True)
    if len(levels) < 2:
        return 0.0
    grid = np.arange(101) / 100
    return float(np.interp(grid, levels, precision[first], left=0, right=0).sum() / 100)


def boundary_scores(counts: Array, best: Array, thresholds: Array) -> BoundaryScores:
    """Scores of a data set.

    Args:
        counts (Array): ``(K, 4)``, summed over pictures.
        best (Array): ``(4,)``, :func:`best_counts` summed over pictures.
        thresholds (Array): ``(K,)``.
    """
    f = f_measure(counts)
    precision, recall = precision_recall(counts)
    k = int(f.argmax())
    return BoundaryScores(
        ods=float(f[k]),
        ods_precision=float(precision[k]),
        ods_recall=float(recall[k]),
        ods_threshold=float(thresholds[k]),
        ois=float(f_measure(best)),
        ap=average_precision(counts),
    )
