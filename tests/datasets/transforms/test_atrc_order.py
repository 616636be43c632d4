"""ATRC's training transforms against a replica in plain numpy, pixel by pixel."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from mmdense.datasets.transforms import PackDenseInputs, PhotoMetricDistortion, TaskAwareCrop

CONFIG = Path(__file__).parents[3] / 'configs/_base_/pipelines/atrc.py'


def nearest(array, size, rule):
    """One Python loop per axis; exact integers for 'center', OpenCV itself for 'corner'."""
    if rule == 'corner':
        return cv2.resize(array, size[::-1], interpolation=cv2.INTER_NEAREST)
    rows, cols = (
        [(2 * i + 1) * old // (2 * new) for i in range(new)] for old, new in zip(array.shape, size)
    )
    return array[rows][:, cols]


def crop_offset(rng, labels, crop):
    """A draw and up to ten redraws until the labels vary."""
    margins = [max(have - want, 0) for have, want in zip(labels.shape, crop)]

    def draw():
        return [int(rng.integers(margin + 1)) for margin in margins]

    redraws = 0
    top, left = draw()
    for _ in range(10):
        window = labels[top : top + crop[0], left : left + crop[1]]
        values, counts = np.unique(window, return_counts=True)
        counts = counts[values != 255]
        if len(counts) > 1 and counts.max() / counts.sum() < 0.75:
            break
        redraws += 1
        top, left = draw()
    return top, left, redraws


def replica(sample, crop, rule, distort):
    """The eight steps of the published order; returns arrays and what was met on the way."""
    rng, gts = sample['rng'], dict(sample['gt'])
    height, width = sample['img'].shape[:2]
    # 1. Random scale.
    s = rng.uniform(0.5, 2.0)
    h, w = int(np.floor(height * s)), int(np.floor(width * s))
    img = cv2.resize(sample['img'], (w, h), interpolation=cv2.INTER_LINEAR)
    gts = {key: nearest(gt, (h, w), rule) for key, gt in gts.items()}
    gts['depth'] = gts['depth'] / np.float32(s)
    # 2. Crop.
    top, left, redraws = crop_offset(rng, gts['semseg'], crop)
    img = img[top : top + crop[0], left : left + crop[1]]
    gts = {key: gt[top : top + crop[0], left : left + crop[1]] for key, gt in gts.items()}
    # 3. Flip.
    flipped = rng.random() < 0.5
    if flipped:
        img = img[:, ::-1]
        gts = {key: gt[:, ::-1] for key, gt in gts.items()}
        gts['normal'] = gts['normal'] * np.float32([-1, 1, 1])
    # 4. Photometric distortion. 5. is the data preprocessor's.
    img = distort(np.ascontiguousarray(img), PhotoMetricDistortion().draw(rng))
    # 6. Centred padding.
    delta = crop[0] - img.shape[0], crop[1] - img.shape[1]
    margins = [(d // 2, d - d // 2) for d in delta]
    img = np.pad(img, (*margins, (0, 0)))
    fill = dict(semseg=255, part=255, saliency=255, boundary=255, depth=0, normal=0)
    gts = {
        key: np.pad(gt, (*margins, (0, 0))[: gt.ndim], constant_values=fill[key])
        for key, gt in gts.items()
    }
    # 7. Ignore regions.
    no_part = set(np.unique(gts['part'])) <= {0, 255}
    if no_part:
        gts['part'] = np.full_like(gts['part'], 255)
    return (
        img,
        gts,
        dict(redraws=redraws, flipped=flipped, no_part=no_part, odd=any(d % 2 for d in delta)),
    )


def picture(make_sample, size, seed):
    """Labels in large patches, so that crops are redrawn, and parts in one corner only."""
    sample = make_sample(size, seed, unknown=0.1)
    rng = np.random.default_rng(seed)
    labels = np.zeros(size, np.uint8)
    labels[:, rng.integers(size[1]) :] = 3
    labels[rng.random(size) < 0.1] = 255
    sample['gt']['semseg'] = labels
    parts = np.zeros(size, np.uint8)
    parts[:3, :3] = 4
    parts[rng.random(size) < 0.1] = 255
    sample['gt']['part'] = parts
    sample['rng'] = np.random.default_rng(seed + 100)
    return sample


@pytest.mark.parametrize('rule', ['center', 'corner'])
def test_published_order_equals_its_steps_by_hand(make_sample, distort_by_hand, rule):
    init_default_scope('mmdense')
    size, crop = (20, 27), (19, 22)
    steps = Config.fromfile(CONFIG).nyud_train_pipeline
    for step in steps:
        if 'size' in step:
            step['size'] = crop
    steps[0]['nearest'] = rule
    pipeline = Compose(steps)
    met = []
    for seed in range(40):
        packed = pipeline(picture(make_sample, size, seed))
        sample = picture(make_sample, size, seed)
        img, gts, notes = replica(sample, crop, rule, distort_by_hand)
        met.append(notes)
        assert np.array_equal(packed['inputs'].numpy(), img.transpose(2, 0, 1))
        for key, task in sample['tasks'].items():
            expected = gts[key] if gts[key].ndim == 3 else gts[key][..., None]
            found = packed['data_samples'].gt(task)
            assert torch.equal(found, torch.from_numpy(expected.transpose(2, 0, 1).copy())), key
    # The fixed seeds go through every branch.
    for branch in ('flipped', 'no_part', 'odd'):
        assert 3 < sum(notes[branch] for notes in met) < 37, branch
    assert {0, 10} < {notes['redraws'] for notes in met}


def test_a_crop_without_parts_becomes_unknown_and_one_with_parts_stays(make_sample):
    sample = make_sample((8, 8))
    task = sample['tasks']['part']
    parts = np.zeros((8, 8), np.uint8)
    parts[0, 0], parts[7] = 3, 255
    for window, expected in ((slice(0, 8), parts), (slice(1, 8), np.full((7, 8), 255))):
        sample['gt'] = dict(part=parts[window])
        packed = PackDenseInputs().transform(sample)['data_samples'].gt(task)
        assert np.array_equal(packed[0].numpy(), expected)
    assert parts[1].max() == 0, 'the array of the data set must not change'


@pytest.mark.parametrize(
    ('values', 'varied'),
    [
        ([1] * 75 + [2] * 25, False),  # exactly 75 %: not below
        ([1] * 74 + [2] * 26, True),
        ([1] * 74 + [255] * 26, False),  # one class only
        ([1] * 60 + [2] * 20 + [255] * 20, False),  # 75 % of the labelled pixels
        ([1] * 59 + [2] * 21 + [255] * 20, True),
        ([255] * 100, False),
    ],
)
def test_what_counts_as_varied(make_sample, values, varied):
    sample = make_sample((10, 10))
    crop = TaskAwareCrop((10, 10), cat_max_ratio=0.75)
    labels = np.array(values, np.uint8).reshape(10, 10)
    assert crop._varied(sample, labels) == varied
