import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import brute_force

from mmdense.evaluation import NormalMetric
from mmdense.evaluation.file_protocol import normals_to_uint8, uint8_to_normals
from mmdense.evaluation.metrics import normal_metric
from mmdense.evaluation.metrics.normal_metric import angular_error


def maps(seed, pictures=3, noise=0.4):
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(pictures):
        gt = rng.normal(size=(6, 5, 3))
        gt /= np.linalg.norm(gt, axis=-1, keepdims=True)
        gt[rng.random(gt.shape[:2]) < 0.2] = 0
        pred = gt + noise * rng.normal(size=gt.shape)
        pred[0, 0] = 0
        pairs.append((pred, gt))
    return pairs


def angles(pairs):
    return np.asarray(
        [
            brute_force.angle(p, g)
            for pred, gt in pairs
            for p, g in zip(pred.reshape(-1, 3), gt.reshape(-1, 3))
            if g.any()
        ]
    )


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    formula=st.sampled_from(['atan2', 'arccos']),
    median=st.sampled_from(['histogram', 'float16']),
)
def test_all_six_numbers_equal_the_angles_by_hand(seed, formula, median):
    pairs = maps(seed)
    expected = angles(pairs)
    scores = NormalMetric(formula=formula, median=median).score(pairs)
    assert scores['mean'] == pytest.approx(expected.mean(), abs=1e-5)
    assert scores['rmse'] == pytest.approx(np.sqrt((expected**2).mean()), abs=1e-5)
    for t in (11.25, 22.5, 30):
        assert scores[f'{t:g}'] == pytest.approx((expected < t).mean())
    if median == 'float16':
        rounded = np.median(expected.astype(np.float16).astype(np.float64))
        # The two formulas may round a value to neighbouring numbers of 10 bits.
        assert scores['median'] == pytest.approx(rounded, rel=2**-10)
    else:
        assert scores['median'] == pytest.approx(np.median(expected), abs=1e-9)


def test_formulas_agree_to_a_hundred_thousandth_of_a_degree():
    (pred, gt), *_ = maps(5, noise=0.05)
    known = gt.any(-1) & pred.any(-1)
    one, two = (angular_error(pred[known], gt[known], name) for name in ('atan2', 'arccos'))
    assert np.abs(one - two).max() < 1e-5
    same = gt[gt.any(-1)]
    assert angular_error(same, same).max() < 1e-5


def test_shares_are_strict_and_the_exact_median_of_float16_is_exact():
    gt = np.zeros((1, 4, 3))
    gt[..., 2] = 1
    turned = np.radians([10.0, 22.5, 60.0, 90.0])
    pred = np.stack([np.sin(turned), 0 * turned, np.cos(turned)], axis=-1)[None]
    scores = NormalMetric(thresholds=(22.5000001, 90), median='float16').score([(pred, gt)])
    assert scores['90'] == 0.75
    assert scores['22.5'] == 0.5
    assert scores['median'] == (np.float64(np.float16(22.5)) + 60) / 2


def test_file_protocol_truncates_and_turns_zero_into_a_direction():
    assert normals_to_uint8(np.zeros((1, 3), np.float32)).tolist() == [[127, 127, 127]]
    gt = np.full((1, 1, 3), -1 / np.sqrt(3))
    metric = NormalMetric(quantize='uint8')
    assert metric.score([(np.zeros_like(gt), gt)])['mean'] == pytest.approx(0, abs=1e-5)
    assert 'truncated to 8 bit' in metric.protocol
    pairs = [(gt, gt) for _, gt in maps(2)]
    by_hand = [(np.floor((g + 1) * 127.5) * 2 / 255 - 1, g) for _, g in pairs]
    assert metric.score(pairs)['mean'] == pytest.approx(angles(by_hand).mean(), abs=1e-5)
    assert 0.05 < metric.score(pairs)['mean'] < 0.6


def test_what_was_read_from_a_file_is_not_truncated_again():
    levels = np.full((3, 256, 3), 127, np.uint8)
    levels[range(3), :, range(3)] = np.arange(256)
    assert np.array_equal(normals_to_uint8(uint8_to_normals(levels)), levels)


def test_sum_rule_drops_known_vectors_whose_components_cancel():
    gt = np.zeros((1, 3, 3))
    gt[0, 0] = (np.sqrt(0.5), -np.sqrt(0.5), 0)
    gt[0, 1] = (0, 0, 1)
    pred = np.broadcast_to([0.0, 0, 1], gt.shape)
    assert NormalMetric().score([(pred, gt)])['mean'] == pytest.approx(45)
    assert NormalMetric(valid_rule='sum').score([(pred, gt)])['mean'] == pytest.approx(0)


def test_invalid_pictures_contribute_nothing():
    pairs = maps(4)
    empty = (np.ones((2, 2, 3)), np.zeros((2, 2, 3)))
    metric = NormalMetric()
    assert metric.score([*pairs, empty]) == metric.score(pairs)
    assert all(np.isnan(value) for value in metric.score([empty]).values())


def test_median_of_many_pixels_comes_from_the_histogram(monkeypatch):
    pairs = maps(7)
    exact = np.median(angles(pairs))
    monkeypatch.setattr(normal_metric, 'EXACT_ANGLES', angles(pairs).size)
    assert NormalMetric().score(pairs)['median'] == pytest.approx(exact, abs=1e-9)
    monkeypatch.setattr(normal_metric, 'EXACT_ANGLES', angles(pairs).size - 1)
    found = NormalMetric().score(pairs)['median']
    assert found == pytest.approx(exact, abs=5.1e-3)
    assert found != pytest.approx(exact, abs=1e-9)
    # A grid of bins has its middles at 0.005.
    assert 200 * found == pytest.approx(round(200 * found), abs=1e-6)


def test_median_per_picture_is_averaged_over_pictures_with_normals():
    pairs = maps(8)
    empty = (np.ones((2, 2, 3)), np.zeros((2, 2, 3)))
    metric = NormalMetric(median='image')
    scores = metric.score([pairs[0], empty, *pairs[1:]])
    assert scores['median'] == pytest.approx(np.mean([np.median(angles([p])) for p in pairs]))
    assert scores['mean'] == pytest.approx(NormalMetric().score(pairs)['mean'])
    assert 'median per picture' in metric.protocol


def test_zero_predictions_are_90_degrees_off_in_the_median_too():
    (_, gt), *_ = maps(3)
    assert NormalMetric().score([(np.zeros_like(gt), gt)])['median'] == 90


def test_unknown_options_are_named():
    for option in ('formula', 'median', 'quantize', 'valid_rule'):
        with pytest.raises(ValueError, match=f"NormalMetric.{option} is 'x'; choose"):
            NormalMetric(**{option: 'x'})
