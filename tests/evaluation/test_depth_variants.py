import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import brute_force

from mmdense.evaluation import DepthMetric
from mmdense.tasks import Depth
from mmdense.utils import DataError


def maps(seed, pictures=3):
    """Depths to 14 m with holes; predictions from below 0 to beyond the range."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(pictures):
        gt = rng.uniform(0.2, 14, (6, 5)).astype(np.float32)
        gt[rng.random(gt.shape) < 0.2] = 0
        pred = (gt * rng.uniform(0.6, 1.6, gt.shape) + rng.normal(0, 0.3, gt.shape)).astype(
            np.float32
        )
        pairs.append((pred, gt))
    return pairs


def known(pairs, upper=math.inf):
    return [
        [(float(d), float(g)) for d, g in zip(p.ravel(), t.ravel()) if 0 < g < upper]
        for p, t in pairs
    ]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), clamp=st.sampled_from([None, 0.0, 1e-9, 0.5]))
def test_pooled_and_per_picture_scores_equal_sums_by_hand(seed, clamp):
    pairs = maps(seed)
    pictures = known(pairs)
    pooled = brute_force.depth([pixel for picture in pictures for pixel in picture], clamp)
    each = [brute_force.depth(picture, clamp) for picture in pictures]
    means = {name: sum(row[name] for row in each) / len(each) for name in pooled}
    found = DepthMetric(clamp=clamp).score(pairs)
    silog = dict(silog=means['silog'], silog_pooled=pooled['silog'])
    assert found == pytest.approx({**pooled, **silog}, rel=1e-9)
    found = DepthMetric(clamp=clamp, average='image').score(pairs)
    assert found == pytest.approx({**means, **silog}, rel=1e-9)


def test_default_has_no_upper_end_whatever_range_the_task_trains_on():
    gt = np.asarray([[2.0, 12.0]], np.float32)
    pred = np.asarray([[2.0, 15.0]], np.float32)
    task = Depth(min_depth=0.5, max_depth=10.0)
    assert DepthMetric(task=task).score([(pred, gt)])['rmse'] == pytest.approx(math.sqrt(4.5))
    near = DepthMetric(task=task, max_depth=6.5535)
    assert near.score([(pred, gt)])['rmse'] == 0
    assert '0 < gt < 6.5535 m' in near.protocol
    # MT-CP drops the limit itself.
    limit = np.full((1, 1), 6.5535, np.float64)
    assert math.isnan(near.score([(limit, limit)])['rmse'])


def test_labels_that_are_not_finite_do_not_count():
    gt = np.asarray([[2.0, np.nan, np.inf, 0.0, -1.0]], np.float32)
    assert DepthMetric().score([(np.full_like(gt, 3), gt)])['abs_err'] == 1


def test_clamp_variants():
    gt, pred = np.full((1, 2), 9.0), np.asarray([[20.0, -4.0]])
    rmse = {
        clamp: DepthMetric(clamp=clamp, min_depth=1e-3, max_depth=10).score([(pred, gt)])['rmse']
        for clamp in (None, 0.0, 'range')
    }
    assert rmse[None] == pytest.approx(math.sqrt((11**2 + 13**2) / 2))
    assert rmse[0.0] == pytest.approx(math.sqrt((11**2 + 9**2) / 2))
    assert rmse['range'] == pytest.approx(math.sqrt((1 + 8.999**2) / 2))


def test_prediction_of_zero_is_far_off_and_gives_finite_logs():
    gt = np.full((2, 2), 2.0)
    scores = DepthMetric(clamp=0.0).score([(np.zeros_like(gt), gt)])
    assert scores['d3'] == 0
    assert scores['log10'] == pytest.approx(math.log10(2 / 1e-3))


def test_disparity_scores_what_lies_above_zero_and_carries_its_unit():
    task = Depth(kind='disparity_px', min_depth=0, max_depth=300)
    gt = np.asarray([[-1.0, 0.0, 40.0, 90.0]], np.float32)
    metric = DepthMetric(task=task, max_depth=80)
    assert metric.score([(np.asarray([[5.0, 5.0, 43.0, 5.0]]), gt)])['rmse'] == pytest.approx(3)
    assert metric.unit['rmse'] == 'px'
    assert metric.protocol.startswith('disparity_px, pooled')
    assert metric.prefix == 'depth_disparity_px'


def test_eigen_crop_takes_these_rows_and_columns():
    inside = DepthMetric(crop='eigen')._inside((480, 640))
    rows, cols = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    assert (rows[0], rows[-1], cols[0], cols[-1]) == (45, 470, 41, 600)
    assert DepthMetric(crop='eigen')._inside((425, 560)).all()


def test_picture_without_valid_pixels_contributes_nothing():
    pairs = maps(3)
    empty = (np.ones((3, 3)), np.zeros((3, 3)))
    for average in ('pixel', 'image'):
        metric = DepthMetric(average=average)
        assert metric.score([*pairs, empty]) == metric.score(pairs)
        assert all(math.isnan(value) for value in metric.score([empty]).values())


def test_nan_prediction_stops_with_the_place():
    with pytest.raises(DataError, match=r"task 'depth': the prediction for pair 1 .*\(2 of 4\)"):
        DepthMetric().score(
            [(np.ones((2, 2)),) * 2, (np.asarray([[np.nan, np.inf], [1, 1]]), np.ones((2, 2)))]
        )


def test_protocol_tells_variants_apart():
    variants = [
        dict(),
        dict(clamp=0.0),
        dict(clamp=None),
        dict(clamp='range'),
        dict(max_depth=10.0),
        dict(min_depth=1e-3),
        dict(average='image'),
        dict(crop='eigen'),
        dict(log_clamp=1e-2),
    ]
    lines = [DepthMetric(**options).protocol for options in variants]
    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (dict(clamp='max'), "clamp is 'max'; choose None or 'range'"),
        (dict(average='batch'), "average is 'batch'"),
        (dict(log_clamp=0), 'log_clamp is 0'),
        (dict(min_depth=-1), 'min_depth=-1'),
    ],
)
def test_wrong_options_are_named(options, text):
    with pytest.raises(ValueError, match=text):
        DepthMetric(**options)
