import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from mmdense.datasets.transforms import (
    ColorPolicy,
    PackDenseInputs,
    PhotoMetricDistortion,
    RandomBrightnessGamma,
)
from mmdense.registry import TRANSFORMS


def test_photometric_distortion_equals_the_steps_by_hand(make_sample, distort_by_hand):
    transform = PhotoMetricDistortion()
    applied = set()
    for seed in range(30):
        drawn = transform.draw(np.random.default_rng(seed))
        applied |= {name for name, value in drawn.items() if value is not None}
        sample = dict(img=make_sample()['img'], rng=np.random.default_rng(seed))
        expected = distort_by_hand(make_sample()['img'], drawn)
        assert np.array_equal(transform.transform(sample)['img'], expected)
        assert drawn['hue'] is None or -18 <= drawn['hue'] <= 17
    assert applied == {'brightness', 'contrast', 'saturation', 'hue', 'contrast_first'}


def test_color_policy_uses_the_factors_of_the_paper_code(make_sample):
    img = make_sample()['img']
    picture = Image.fromarray(img)
    cases = [
        (('Sharpness', 1.0, 7), ImageEnhance.Sharpness(picture).enhance(0.1 + 0.18 * 7)),
        (('Brightness', 1.0, 10), ImageEnhance.Brightness(picture).enhance(1.9)),
        (('Solarize', 1.0, 7), ImageOps.solarize(picture, 179)),
        (('Equalize', 1.0, 9), ImageOps.equalize(picture)),
    ]
    for step, expected in cases:
        sample = dict(img=img, rng=np.random.default_rng(0))
        out = ColorPolicy(policy=[[step]]).transform(sample)['img']
        assert np.array_equal(out, np.array(expected)), step
    scaled = ColorPolicy(policy=[[('Color', 1.0, 5)]], magnitude_scale=0.2)
    out = scaled.transform(dict(img=img, rng=np.random.default_rng(0)))['img']
    assert np.array_equal(out, np.array(ImageEnhance.Color(picture).enhance(0.1 + 0.18)))


def test_color_policy_changes_four_in_ten_the_pictures(make_sample):
    img = make_sample((40, 40))['img']  # Equalize needs more than 255 pixels to do anything
    rng = np.random.default_rng(0)
    policy = ColorPolicy()
    changed = sum(
        not np.array_equal(policy.transform(dict(img=img, rng=rng))['img'], img) for _ in range(500)
    )
    # Mean over sub-policies of 1 - prod(1 - p): (0.52 + 0.2 + 0.36 + 0.68 + 0.36) / 5 = 0.42.
    assert 0.36 < changed / 500 < 0.48


def test_color_policy_names_an_unknown_operation():
    with pytest.raises(KeyError, match=r'Posterise.*Known'):
        ColorPolicy(policy=[[('Posterise', 0.5, 3)]])


def test_brightness_gamma_follows_its_formula(make_sample):
    img = make_sample()['img']
    rng = np.random.default_rng(3)
    out = RandomBrightnessGamma(prob=1).transform(dict(img=img, rng=np.random.default_rng(3)))
    rng.random()
    gamma = rng.uniform(0.9, 1.1)
    factors = rng.uniform(0.75, 1.25) * rng.uniform(0.9, 1.1, size=3)
    expected = 255 * (img / 255) ** gamma * factors
    assert np.abs(out['img'] - np.clip(expected, 0, 255)).max() <= 1


@pytest.mark.parametrize(
    'config',
    [
        dict(type='PhotoMetricDistortion'),
        dict(type='ColorPolicy'),
        dict(type='RandomBrightnessGamma'),
    ],
)
def test_colour_transforms_are_repeatable_and_do_not_write_into_their_input(config, make_sample):
    transform = TRANSFORMS.build(config)
    for seed in range(10):
        sample = make_sample()
        img = sample['img'].copy()
        outs = [
            transform.transform(dict(sample, rng=np.random.default_rng(seed)))['img']
            for _ in range(2)
        ]
        assert np.array_equal(*outs)
        assert outs[0].dtype == np.uint8 and outs[0].shape == img.shape
        assert np.array_equal(sample['img'], img)


def test_packing(make_sample):
    sample = make_sample()
    del sample['gt']['part']
    packed = PackDenseInputs().transform(sample)
    assert packed['inputs'].dtype == torch.uint8
    assert np.array_equal(packed['inputs'].numpy(), sample['img'].transpose(2, 0, 1))
    data_sample = packed['data_samples']
    tasks = sample['tasks']
    assert data_sample.gt(tasks['part']) is None
    assert data_sample.gt(tasks['normal']).shape == (3, 12, 17)
    assert data_sample.gt(tasks['semseg']).dtype == torch.uint8
    assert data_sample.gt_sem_seg.data.shape == (1, 12, 17)
    assert data_sample.metainfo['img_path'] == 'a.png'
    assert 'flip' not in data_sample.metainfo


def test_every_transform_says_what_it_is():
    for name, kwargs in (('TaskAwareCrop', dict(size=(3, 4))), ('ColorPolicy', {})):
        assert repr(TRANSFORMS.build(dict(type=name, **kwargs))).startswith(name)
