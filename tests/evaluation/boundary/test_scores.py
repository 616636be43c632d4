import numpy as np
import pytest

from mmdense.evaluation.boundary import (
    average_precision,
    best_counts,
    boundary_scores,
    f_measure,
    precision_recall,
)


def test_degenerate_rules():
    counts = np.asarray([[0, 5, 0, 7], [0, 5, 0, 0], [0, 0, 0, 7], [0, 0, 0, 0], [4, 5, 4, 8]])
    precision, recall = precision_recall(counts)
    assert precision.tolist() == [0, 1, 0, 1, 0.5]
    assert recall.tolist() == [0, 0, 1, 0, 0.8]
    assert f_measure(counts).tolist() == pytest.approx([0, 0, 0, 0, 0.8 / 1.3])


def test_scores_of_two_pictures_by_hand():
    grid = np.asarray([0.3, 0.6])
    first = np.asarray([[10, 10, 10, 20], [5, 10, 5, 5]])
    second = np.asarray([[2, 10, 2, 4], [6, 10, 6, 6]])
    total = first + second
    best = best_counts(first) + best_counts(second)
    scores = boundary_scores(total, best, grid)
    f = [2 * 0.5 * 0.6 / 1.1, 2 * 1 * 0.55 / 1.55]
    assert scores.ods == pytest.approx(max(f))
    assert (scores.ods_precision, scores.ods_recall) == pytest.approx((1, 0.55))
    assert scores.ods_threshold == 0.6
    # The first picture has F = 2/3 at both thresholds and takes the lower one.
    assert best.tolist() == [16, 20, 16, 26]
    assert scores.ois == pytest.approx(2 * 16 / 46)


def test_picture_without_boundary_brings_all_false_positives_of_the_lowest_threshold():
    assert best_counts(np.asarray([[0, 0, 0, 9], [0, 0, 0, 2]])).tolist() == [0, 0, 0, 9]


def test_first_of_equal_maxima_is_the_threshold():
    counts = np.asarray([[5, 10, 5, 10]] * 3)
    assert boundary_scores(counts, counts[0], np.asarray([0.2, 0.5, 0.8])).ods_threshold == 0.2


def test_average_precision_is_the_area_under_straight_pieces():
    # Recall 1 at precision 0.5, recall 0 at precision 1: the mean over 101 points is 0.75.
    counts = np.asarray([[10, 10, 10, 20], [0, 10, 0, 0]])
    assert average_precision(counts) == pytest.approx(0.75 * 101 / 100)
    # Nothing is known beyond recall 0.5.
    counts = np.asarray([[5, 10, 5, 5], [0, 10, 0, 0]])
    assert average_precision(counts) == pytest.approx(51 / 100)


def test_average_precision_takes_the_lowest_threshold_of_equal_recalls():
    counts = np.asarray([[10, 10, 10, 20], [10, 10, 10, 10], [0, 10, 0, 5]])
    assert average_precision(counts) == pytest.approx(sum(k / 200 for k in range(101)) / 100)
    assert average_precision(counts[:2]) == 0
