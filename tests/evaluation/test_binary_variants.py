import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import brute_force

from mmdense.evaluation import BinaryFMetric, EdgeLossMetric

FILES = dict(
    beta2=1.0,
    thresholds=[k / 20 for k in range(4, 19)],
    strict=True,
    average='image',
    quantize='uint8',
)


def maps(seed, pictures=3, unknown=0.1, dtype=np.float32):
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(pictures):
        gt = (rng.random((7, 6)) < 0.3).astype(np.uint8)
        pred = np.clip(0.5 * gt + rng.normal(0.25, 0.3, gt.shape), 0, 1).astype(dtype)
        # Also probabilities that are thresholds.
        pred.flat[:19] = np.arange(1, 20) / 20
        gt[rng.random(gt.shape) < unknown] = 255
        pairs.append((pred, gt))
    return pairs


def sigmoid(p):
    return 1 / (1 + math.exp(-float(p)))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_pooled_variants_equal_counting_by_hand(seed):
    pairs = maps(seed, dtype=np.float64)
    grid = [k / 20 for k in range(1, 20)]
    assert BinaryFMetric().score(pairs)['maxF'] == pytest.approx(
        brute_force.f_pooled(pairs, grid, 0.3)
    )
    twice = BinaryFMetric(sigmoid_again=True).score(pairs)['maxF']
    assert twice == pytest.approx(brute_force.f_pooled(pairs, grid, 0.3, sigmoid))


def test_second_sigmoid_leaves_five_thresholds_and_bounds_the_score_from_below():
    effective = [
        math.log(t / (1 - t)) for t in (k / 20 for k in range(1, 20)) if 0.5 < t < sigmoid(1)
    ]
    assert effective == pytest.approx([0.2007, 0.4055, 0.6190, 0.8473], abs=5e-5)
    pairs = maps(8, dtype=np.float64)
    fine = BinaryFMetric(thresholds=[0.0, *effective]).score(pairs)['maxF']
    assert BinaryFMetric(sigmoid_again=True).score(pairs)['maxF'] == pytest.approx(fine)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_per_picture_variant_equals_counting_by_hand(seed):
    pairs = maps(seed, unknown=0, dtype=np.float64)
    iou, f = brute_force.f_per_picture(pairs, FILES['thresholds'])
    scores = BinaryFMetric(**FILES).score(pairs)
    assert scores['mIoU'] == pytest.approx(iou)
    assert scores['maxF'] == pytest.approx(f)


def test_empty_label_and_empty_prediction_have_iou_one_and_no_precision():
    empty = np.zeros((3, 3))
    scores = BinaryFMetric(**FILES).score([(empty, empty.astype(np.uint8))])
    assert scores == dict(maxF=0, precision=0, recall=0, mIoU=1)
    assert BinaryFMetric().score([(empty, empty.astype(np.uint8))])['maxF'] == 0


def test_eight_bits_are_truncated_before_the_strict_threshold():
    gt = np.ones((1, 1), np.uint8)
    # 0.2035 * 255 = 51.9 becomes 51 / 255 = 0.2, which is not above 0.2.
    one = dict(FILES, thresholds=[0.2])
    assert BinaryFMetric(**one).score([(np.full((1, 1), 0.2035), gt)])['mIoU'] == 0
    assert BinaryFMetric(**dict(one, quantize=None)).score([(np.full((1, 1), 0.2035), gt)])[
        'mIoU'
    ] == pytest.approx(1)


def test_pictures_without_known_pixels_contribute_nothing():
    pairs = maps(2)
    empty = (np.ones((2, 2), np.float32), np.full((2, 2), 255, np.uint8))
    for metric in (BinaryFMetric(), BinaryFMetric(**FILES), EdgeLossMetric()):
        assert metric.score([*pairs, empty]) == metric.score(pairs)
    assert math.isnan(EdgeLossMetric().score([empty])['loss'])
    assert math.isnan(BinaryFMetric(**FILES).score([empty])['mIoU'])


def test_protocol_tells_variants_apart():
    variants = [dict(), dict(sigmoid_again=True), FILES, dict(beta2=1.0), dict(strict=True)]
    lines = [BinaryFMetric(**options).protocol for options in variants]
    assert len(set(lines)) == len(lines)


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match='ascending'):
        BinaryFMetric(thresholds=[0.5, 0.4])
    with pytest.raises(ValueError, match="average is 'batch'"):
        BinaryFMetric(average='batch')
    with pytest.raises(ValueError, match=r'positive_weight is 1\.5'):
        EdgeLossMetric(positive_weight=1.5)


@pytest.mark.parametrize('weight', [0.95, 0.8, None])
def test_edge_loss_equals_its_formula(weight):
    pairs = [(p.astype(np.float64), g) for p, g in maps(6)]
    known = np.concatenate([g[g != 255] for _, g in pairs])
    w = (known == 0).mean() if weight is None else weight

    def logit(p):
        p = min(max(p, 1e-7), 1 - 1e-7)
        return math.log(p / (1 - p))

    for exact, transform in ((True, logit), (False, float)):
        metric = EdgeLossMetric(positive_weight=weight, logit_of_probability=exact)
        expected = brute_force.balanced_bce(pairs, w, transform)
        assert metric.score(pairs)['loss'] == pytest.approx(expected)
        assert 'not publishable' in metric.protocol


def test_edge_loss_of_probabilities_as_logits_is_bounded_away_from_zero():
    gt = np.asarray([[0, 1]], np.uint8)
    perfect = [(gt.astype(np.float64), gt)]
    assert EdgeLossMetric().score(perfect)['loss'] < 1e-6
    assert EdgeLossMetric(logit_of_probability=False).score(perfect)['loss'] > 0.15


def test_float32_prediction_reaches_the_threshold_it_stands_for():
    # The float32 nearest to 0.7 is smaller than the float64.
    assert float(np.float32(0.7)) < 0.7
    pred = np.full((1, 4), 0.7, np.float32)
    gt = np.ones((1, 4), np.uint8)
    for strict, expected in ((False, 1), (True, 0)):
        for kind in (np.float32, np.float64):
            metric = BinaryFMetric(thresholds=[0.7], strict=strict)
            kinds = 0.7 * np.ones_like(pred, np.float64) if kind is np.float64 else pred
            assert metric.score([(kinds, gt)])['recall'] == expected
