import numpy as np
import pytest
from pictures import blobs, room_and_prediction

from mmdense.evaluation.boundary import (
    BoundaryProtocol,
    count_matches,
    count_matches_plain,
    default_thresholds,
    distinct_maps,
    gt_boundaries,
    thin,
    true_boundaries,
)

RULES = pytest.mark.parametrize(
    'protocol',
    # On these small pictures a reach of some pixels takes a larger share of the diagonal.
    [BoundaryProtocol(0.03, nms=True), BoundaryProtocol(0.022, nms=False)],
    ids=['nms', 'no nms'],
)


def assert_both_forms_agree(levels, labels, protocol, known=None):
    truth = true_boundaries(labels)
    found = count_matches(levels, truth, protocol, known)
    np.testing.assert_array_equal(found, count_matches_plain(levels, truth, protocol, known))
    assert (found[:, 0] == found[:, 2]).all()
    assert (found[:, 0] <= np.minimum(found[:, 1], found[:, 3])).all()
    return found


@RULES
@pytest.mark.parametrize(
    'rooms', [range(4), pytest.param(range(4, 20), marks=pytest.mark.slow)], ids=['few', 'more']
)
def test_counters_of_20_rooms_equal_those_by_the_book(protocol, rooms):
    for index in rooms:
        edges, levels = room_and_prediction(index)
        counts = assert_both_forms_agree(levels, edges, protocol)
        assert counts[10, 0] > 0.3 * counts[10, 1]


@pytest.mark.slow
@pytest.mark.parametrize(('max_dist', 'nms'), [(0.011, True), (0.0075, False)])
def test_counters_of_rooms_of_full_size_equal_those_by_the_book(max_dist, nms):
    """Two pictures; `boundary_benchmark.py --check --plain 20` compares more."""
    protocol = BoundaryProtocol(max_dist, nms)
    for index in range(2):
        edges, levels = room_and_prediction(index, (425, 560))
        assert_both_forms_agree(levels, edges, protocol)


@RULES
def test_counters_of_random_maps_with_a_large_tolerance(protocol):
    rng = np.random.default_rng(1)
    wide = BoundaryProtocol(0.08, protocol.nms, (0.3, 0.5, 0.7))
    for _ in range(5):
        labels = blobs(rng, (33, 29), 2) // 64
        assert_both_forms_agree(blobs(rng, (33, 29)), labels, wide)


@RULES
def test_unknown_pixels_predict_nothing(protocol):
    edges, levels = room_and_prediction(3)
    known = np.ones(edges.shape, bool)
    known[:, 40:] = False
    counts = assert_both_forms_agree(levels, edges * known, protocol, known)
    assert 0 < counts[5, 3] < count_matches(levels, edges.astype(bool), protocol)[5, 3]
    assert not count_matches(levels, edges.astype(bool), protocol, known & False)[
        :, [0, 2, 3]
    ].any()


@RULES
def test_degenerate_pictures(protocol):
    size = (30, 40)
    flat, full = np.zeros(size, np.uint8), np.full(size, 255, np.uint8)
    edges, levels = room_and_prediction(0, size)
    assert not assert_both_forms_agree(levels, flat, protocol)[:, :3].any()
    empty = assert_both_forms_agree(flat, edges, protocol)
    assert (empty[:, 1] == thin(gt_boundaries(edges)).sum()).all()
    assert not empty[:, [0, 2, 3]].any()
    assert not assert_both_forms_agree(flat, flat, protocol).any()
    everything = assert_both_forms_agree(full, np.arange(1200).reshape(size), protocol)
    assert (everything[:, 3] > 0).all()
    assert_both_forms_agree(full, edges, protocol)


def test_perfect_prediction_matches_everything_without_suppression():
    edges, _ = room_and_prediction(1)
    levels = (255 * gt_boundaries(edges)).astype(np.uint8)
    counts = count_matches(levels, true_boundaries(edges), BoundaryProtocol(nms=False))
    assert (counts == counts[0, 0]).all()
    assert counts[0, 0] > 100


def test_rule_at_a_threshold_that_8_bits_can_hit():
    """51 / 255 is 0.2: not above it, but not below it either."""
    levels = np.zeros((20, 20), np.uint8)
    levels[10, 10] = 51
    truth = levels > 0
    grid = (0.19, 0.2, 0.21)
    strict = count_matches(levels, truth, BoundaryProtocol(nms=True, thresholds=grid))
    loose = count_matches(levels, truth, BoundaryProtocol(nms=False, thresholds=grid))
    assert strict[:, 3].tolist() == [1, 0, 0]
    assert loose[:, 3].tolist() == [1, 1, 0]


def test_thresholds():
    with_nms, without = default_thresholds(True), default_thresholds(False)
    assert (len(with_nms), len(without)) == (101, 99)
    assert with_nms[[0, 1, 20, -2, -1]].tolist() == [0.001, 0.01, 0.2, 0.99, 0.999]
    assert without[[0, -1]].tolist() == [0.01, 0.99]


def test_distinct_maps_leave_out_thresholds_that_change_nothing():
    reached = np.asarray([[0, 3], [3, 5]])
    rank, map_of = distinct_maps(reached, 6)
    assert rank.tolist() == [[0, 1], [1, 2]]
    assert map_of.tolist() == [0, 0, 0, 1, 1, 2]
    for k in range(6):
        assert ((rank > map_of[k]) == (reached > k)).all()


def test_gt_boundaries_pixel_by_pixel():
    labels = np.random.default_rng(0).integers(0, 3, (7, 9))
    expected = np.zeros(labels.shape, bool)
    for i in range(7):
        for j in range(9):
            others = []
            if j < 8:
                others.append(labels[i, j + 1])
            if i < 6:
                others.append(labels[i + 1, j])
            if i < 6 and j < 8:
                others.append(labels[i + 1, j + 1])
            expected[i, j] = any(other != labels[i, j] for other in others)
    np.testing.assert_array_equal(gt_boundaries(labels), expected)
    np.testing.assert_array_equal(true_boundaries(labels), thin(expected))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(max_dist=0), '`max_dist` is 0'),
        (dict(max_dist=4.7), 'share of the picture'),
        (dict(thresholds=()), 'ascending'),
        (dict(thresholds=(0.5, 0.2)), 'ascending'),
        (dict(thresholds=(0.0, 0.2)), 'between 0 and 1'),
        (dict(thresholds=(0.2, float('nan'))), 'ascending'),
    ],
)
def test_impossible_protocols_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BoundaryProtocol(**arguments)
