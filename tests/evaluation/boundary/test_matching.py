import itertools

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from mmdense.evaluation.boundary import (
    MatchingSweep,
    disc_offsets,
    find_candidates,
    maximum_matching,
)

graphs = st.builds(
    lambda seed, left, right, density: np.random.default_rng(seed).random((left, right)) < density,
    st.integers(0, 2**32 - 1),
    st.integers(0, 14),
    st.integers(0, 14),
    st.floats(0.02, 0.6),
)


def neighbours(adjacent):
    return [np.flatnonzero(row).tolist() for row in adjacent]


@settings(max_examples=150, deadline=None)
@given(graphs)
def test_matching_is_valid_and_as_large_as_those_of_two_other_methods(adjacent):
    left, right = adjacent.shape
    mates = maximum_matching(neighbours(adjacent), right)
    matched = np.flatnonzero(mates >= 0)
    assert adjacent[matched, mates[matched]].all()
    assert len(set(mates[matched])) == len(matched)
    rows, columns = linear_sum_assignment(adjacent, maximize=True)
    assert len(matched) == adjacent[rows, columns].sum()
    graph = networkx.Graph()
    graph.add_nodes_from(range(left + right))
    graph.add_edges_from((i, left + j) for i, j in np.argwhere(adjacent))
    found = networkx.bipartite.hopcroft_karp_matching(graph, range(left))
    assert len(matched) == len(found) // 2


def test_chain_that_needs_one_path_through_everything():
    """Greedy takes (0, 0), (1, 1), ...; the last vertex has only 0 left: one path over all."""
    n = 20_000
    chain = [[k, k + 1] for k in range(n)] + [[0]]
    assert (maximum_matching(chain, n + 1) >= 0).all()


def test_offsets_are_the_disc_and_nearest_first():
    tolerance = 0.011 * np.hypot(425, 560)
    offsets = disc_offsets(tolerance)
    lengths = np.hypot(*offsets.T)
    assert (np.diff(lengths) >= -1e-12).all()
    grid = itertools.product(range(-9, 10), repeat=2)
    assert {tuple(o) for o in offsets} == {o for o in grid if np.hypot(*o) <= tolerance}


def test_a_distance_equal_to_the_tolerance_counts():
    assert [3, 4] in disc_offsets(5.0).tolist()
    assert [3, 4] not in disc_offsets(4.999).tolist()


@pytest.mark.parametrize('tolerance', [0.5, 1.0, 2.9, 7.7, 60])
def test_candidates_are_all_pairs_within_the_tolerance(tolerance):
    rng = np.random.default_rng(0)
    shape = (23, 31)
    pred = np.flatnonzero(rng.random(shape) < 0.06)
    gt = np.flatnonzero(rng.random(shape) < 0.06)
    pairs = find_candidates(pred, gt, shape, tolerance)
    a, b = (np.stack(np.divmod(index, shape[1]), 1) for index in (pred, gt))
    distance = np.linalg.norm(a[:, None] - b[None], axis=2)
    owner = np.repeat(np.arange(len(gt)), np.diff(pairs.of_gt_start))
    found = set(zip(pairs.near[pairs.of_gt].tolist(), owner.tolist()))
    expected = {tuple(pair) for pair in np.argwhere(distance <= tolerance).tolist()}
    assert found == expected
    back = np.repeat(pairs.near, np.diff(pairs.of_pred_start))
    assert set(zip(back.tolist(), pairs.of_pred.tolist())) == expected
    for g in range(len(gt)):
        row = pairs.near[pairs.of_gt[pairs.of_gt_start[g] : pairs.of_gt_start[g + 1]]]
        assert (np.diff(distance[row, g]) >= 0).all()
    assert (distance.min(axis=1) <= tolerance).sum() == len(pairs.near)


def presences(rng, count, steps):
    """Sets that mostly shrink, as those of rising thresholds, with some pixels that come back."""
    score = rng.random(count)
    for threshold in np.linspace(-0.1, 1.1, steps):
        yield (score + 0.1 * rng.normal(size=count)) > threshold


def assert_certificate(sweep, pairs, present):
    """What proves that no larger matching exists."""
    dead, mate = sweep._dead, sweep._mate_of_gt
    assert dead[mate < 0].all()
    owner = np.repeat(np.arange(pairs.num_gt), np.diff(pairs.of_gt_start))
    beside = pairs.of_gt[dead[owner]]
    beside = np.unique(beside[present[beside]])
    mates = sweep._mate_of_pred[beside]
    assert (mates >= 0).all()
    assert dead[mates].all()


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    density=st.floats(0.02, 0.4),
    balance=st.floats(0.2, 3),
    tolerance=st.sampled_from([1.0, 1.5, 2.3, 4.0]),
    backwards=st.booleans(),
)
def test_sweep_keeps_a_maximum_matching(seed, density, balance, tolerance, backwards):
    rng = np.random.default_rng(seed)
    shape = (rng.integers(2, 18), rng.integers(2, 18))
    pred = np.flatnonzero(rng.random(shape) < min(1, density * balance))
    gt = np.flatnonzero(rng.random(shape) < density)
    pairs = find_candidates(pred, gt, shape, tolerance)
    steps = list(presences(rng, pairs.num_pred, 12))
    steps = steps[::-1] if backwards else steps
    sweep = MatchingSweep(pairs)
    for present, found in zip(steps, sweep.run(steps)):
        rows = np.split(pairs.of_gt, pairs.of_gt_start[1:-1]) if pairs.num_gt else []
        expected = maximum_matching([row[present[row]].tolist() for row in rows], pairs.num_pred)
        assert found == np.count_nonzero(expected >= 0)
        assert_certificate(sweep, pairs, present)


def test_sweep_over_a_long_line_that_must_shift_as_a_whole():
    """All true pixels but the first have their own prediction; one free place lies far off."""
    length = 3000
    gt = np.arange(length)
    pred = np.arange(length) + 1
    pairs = find_candidates(pred, gt, (1, length + 1), 1.0)
    everything = np.ones(pairs.num_pred, bool)
    without_middle = everything.copy()
    without_middle[length // 2] = False
    steps = [everything, without_middle, everything]
    assert list(MatchingSweep(pairs).run(steps)) == [length, length - 1, length]


def test_no_pixel_on_one_side():
    nothing, some = np.zeros(0, int), np.arange(5)
    for pred, gt in ((nothing, some), (some, nothing), (nothing, nothing)):
        pairs = find_candidates(pred, gt, (5, 5), 2.0)
        assert list(MatchingSweep(pairs).run([np.ones(pairs.num_pred, bool)])) == [0]
