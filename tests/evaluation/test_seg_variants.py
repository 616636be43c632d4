import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import brute_force

from mmdense.evaluation import SegMetric
from mmdense.tasks import Part, SemSeg
from mmdense.utils import DataError


def maps(seed, pictures=3, classes=5, labels=4, unknown=0.2):
    """Predictions of all classes, labels of the first few, and unknown pixels."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(pictures):
        gt = rng.integers(0, labels, (6, 5)).astype(np.uint8)
        gt[rng.random(gt.shape) < unknown] = 255
        pairs.append((rng.integers(0, classes, (6, 5)), gt))
    return pairs


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), absent=st.sampled_from(['skip', 'zero', 'nan']))
def test_one_confusion_matrix_equals_counting_by_hand(seed, absent):
    pairs = maps(seed)
    # Eight classes: two never labelled but predicted, three neither.
    scores = SegMetric(num_classes=8, absent=absent).score(pairs)
    expected = brute_force.seg_pixel(pairs, 8, absent)
    assert scores['mIoU'] == pytest.approx(expected, nan_ok=True)
    assert math.isnan(scores['mIoU']) == (absent == 'nan')


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_per_picture_averages_equal_counting_by_hand(seed):
    pairs = maps(seed)
    scores = SegMetric(num_classes=8, average='image').score(pairs)
    miou, accuracy = brute_force.seg_image(pairs, 8)
    assert scores['mIoU'] == pytest.approx(miou)
    assert scores['pixAcc'] == pytest.approx(accuracy)


def test_pictures_without_labels_contribute_nothing_to_either_average():
    pairs = maps(1)
    empty = (np.zeros((4, 4), np.int64), np.full((4, 4), 255, np.uint8))
    for average in ('pixel', 'image'):
        metric = SegMetric(num_classes=5, average=average)
        assert metric.score([*pairs, empty]) == metric.score(pairs)
        assert all(math.isnan(v) for v in metric.score([empty]).values())


def test_rules_for_pictures_without_parts_differ_on_zero_and_unknown_alone():
    person = np.zeros((4, 4), np.uint8)
    person[:2] = 3
    plain, mixed = np.zeros_like(person), np.zeros_like(person)
    mixed[0, 0] = 255
    false_part = np.full((4, 4), 3)
    pairs = [(person.astype(np.int64), person), (false_part, plain), (false_part, mixed)]
    score = {
        rule: SegMetric(task=Part(), skip_images=rule).score(pairs)['pixAcc']
        for rule in (None, 'background', 'single_value')
    }
    assert score['background'] == 1
    assert score['single_value'] == pytest.approx(16 / (16 + 15))
    assert score[None] == pytest.approx(16 / (16 + 16 + 15))


def test_picture_of_one_part_alone_counts_by_both_rules():
    head = np.ones((4, 4), np.uint8)
    for rule in ('background', 'single_value'):
        metric = SegMetric(task=Part(), skip_images=rule)
        assert metric.score([(head, head)])['pixAcc'] == 1
        assert math.isnan(metric.score([(head, 255 * head)])['pixAcc'])


def test_protocol_tells_variants_apart():
    variants = [
        dict(),
        dict(absent='zero'),
        dict(absent='nan'),
        dict(average='image'),
        dict(skip_images='background'),
        dict(skip_images='single_value'),
    ]
    lines = [SegMetric(num_classes=4, **options).protocol for options in variants]
    assert len(set(lines)) == len(lines)
    assert lines[0] == 'one confusion matrix, 4 classes, absent classes skipped'


def test_classes_come_from_the_task():
    task = SemSeg(num_classes=2, classes=('bed', 'wall'))
    gt = np.asarray([[0, 1]], np.uint8)
    assert 'IoU.wall' in SegMetric(task=task, per_class=True).score([(gt, gt)])


def test_wrong_options_and_labels_are_named():
    with pytest.raises(ValueError, match="absent is 'none'; choose 'skip', 'zero' or 'nan'"):
        SegMetric(num_classes=3, absent='none')
    with pytest.raises(ValueError, match="has no meaning with average='image'"):
        SegMetric(num_classes=3, absent='zero', average='image')
    with pytest.raises(ValueError, match='give num_classes'):
        SegMetric()
    gt = np.zeros((2, 2), np.uint8)
    with pytest.raises(DataError, match='a prediction holds labels from 0 to 3; num_classes=3'):
        SegMetric(num_classes=3).score([(np.asarray([[0, 3], [0, 0]]), gt)])
