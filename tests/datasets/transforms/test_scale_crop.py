import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdense.datasets.transforms import (
    TaskAwareCrop,
    TaskAwareFlip,
    TaskAwarePad,
    TaskAwareRandomScale,
    TaskAwareRandomScaleCrop,
    TaskAwareResize,
)
from mmdense.datasets.transforms.functional import nearest_index, resize_aligned, resize_gt
from mmdense.tasks import Depth, build_tasks


def linear(array, size):
    chw = torch.from_numpy(array.astype(np.float32)).permute(2, 0, 1)
    out = F.interpolate(chw[None], size=size, mode='bilinear', align_corners=True)
    return out[0].permute(1, 2, 0).numpy()


def nearest(array, size):
    hw = torch.from_numpy(array.astype(np.float32))
    return F.interpolate(hw[None, None], size=size, mode='nearest')[0, 0].numpy()


def test_libmtl_form_equals_interpolation_of_the_window(make_sample):
    size = (24, 36)
    transform = TaskAwareRandomScaleCrop(
        align_corners=True, nearest='corner', interpolation=dict(normal='linear')
    )
    seen = set()
    for seed in range(12):
        sample, before = make_sample(size, unknown=0), make_sample(size, unknown=0)
        sample['rng'] = np.random.default_rng(seed)
        sample = transform.transform(sample)
        rng = np.random.default_rng(seed)
        s = (1.0, 1.2, 1.5)[rng.integers(3)]
        seen.add(s)
        h, w = int(size[0] / s), int(size[1] / s)
        top, left = int(rng.integers(size[0] - h + 1)), int(rng.integers(size[1] - w + 1))

        cut = slice(top, top + h), slice(left, left + w)
        assert np.array_equal(sample['img'], np.rint(linear(before['img'][cut], size)))
        for key in ('semseg', 'part', 'boundary', 'saliency'):
            assert np.array_equal(sample['gt'][key], nearest(before['gt'][key][cut], size)), key
        depth = nearest(before['gt']['depth'][cut], size) / np.float32(s)
        assert np.array_equal(sample['gt']['depth'], depth)
        normal = linear(before['gt']['normal'][cut], size)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        assert np.allclose(sample['gt']['normal'], normal, atol=1e-5)
        assert sample['depth_scale'] == pytest.approx(1 / s)
        assert sample['img_shape'] == size
    assert seen == {1.0, 1.2, 1.5}


def test_window_of_whole_divisions_does_not_lose_a_row_to_rounding(make_sample):
    sample = make_sample((288, 384))
    sample['gt'] = {}
    before = sample['intrinsics']
    sample = TaskAwareRandomScaleCrop(scales=[1.2]).transform(sample)
    # 288 / 1.2 = 240 and 384 / 1.2 = 320, so both focal lengths grow by exactly 1.2.
    assert sample['intrinsics'][0, 0] / before[0, 0] == pytest.approx(1.2, abs=1e-12)
    assert sample['intrinsics'][1, 1] / before[1, 1] == pytest.approx(1.2, abs=1e-12)


@pytest.mark.parametrize(
    ('kwargs', 'words'),
    [
        (dict(scales=[0.9, 1.2]), 'at least 1'),
        (dict(scales=None, scale_range=(0.5, 1.0)), 'at least 1'),
        (dict(align_corners=True, interpolation=dict(normal='cubic')), 'cubic'),
        (dict(nearest='exact'), "'exact'.*'center' or 'corner'"),
    ],
)
def test_impossible_arguments_are_named_at_build(kwargs, words):
    with pytest.raises(ValueError, match=words):
        TaskAwareRandomScaleCrop(**kwargs)


def test_factors_are_drawn_from_a_list_uniformly():
    transform = TaskAwareRandomScale(scales=[1.0, 1.2, 1.5])
    rng = np.random.default_rng(0)
    drawn = [transform.draw(rng) for _ in range(900)]
    assert set(drawn) == {1.0, 1.2, 1.5}
    assert min(drawn.count(s) for s in set(drawn)) > 240


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.integers(1, 900))
def test_the_corner_rule_is_that_of_opencv(source, target):
    row = np.arange(source, dtype=np.float32)[None]
    expected = cv2.resize(row, (target, 1), interpolation=cv2.INTER_NEAREST)[0]
    assert np.array_equal(nearest_index(source, target, 'corner'), expected)


def test_aligned_resize_keeps_the_corner_pixels():
    rng = np.random.default_rng(0)
    for shape in ((5, 7), (5, 7, 3)):
        array = rng.random(shape).astype(np.float32)
        out = resize_aligned(array, (9, 13))
        assert out.shape == (9, 13, *shape[2:])
        assert np.allclose(out[::2, ::2], array, atol=1e-6)
        assert np.allclose(out[0, 1], (array[0, 0] + array[0, 1]) / 2, atol=1e-6)


def test_aligned_depth_is_not_averaged_with_unknown_pixels():
    depth = np.array([[2.0, 0.0, 4.0]], np.float32)
    out = resize_gt(Depth(), depth, (1, 5), 'linear', aligned=True)
    assert set(out[0].tolist()) <= {0.0, 2.0, 4.0} and out[0, 0] == 2 and out[0, 4] == 4


def test_reflected_padding_is_picture_and_targets_are_unknown(make_sample):
    before = make_sample((6, 7))
    sample = TaskAwarePad((9, 12), mode='reflect').transform(make_sample((6, 7)))
    expected = np.pad(before['img'], ((0, 3), (0, 5), (0, 0)), mode='reflect')
    assert np.array_equal(sample['img'], expected)
    # The preprocessor would set what is in padding_size to 0.
    assert 'padding_size' not in sample and sample['img_shape'] == (9, 12)
    for key, gt in sample['gt'].items():
        task = sample['tasks'][key]
        assert np.array_equal(gt[:6, :7], before['gt'][key])
        assert not task.valid(gt)[6:].any() and not task.valid(gt)[:, 7:].any()


def test_reflected_padding_wider_than_the_picture_and_refused_in_tests(make_sample):
    before = make_sample((3, 4))
    sample = TaskAwarePad((12, 4), mode='reflect').transform(make_sample((3, 4)))
    assert np.array_equal(sample['img'][2:5], before['img'][::-1])
    with pytest.raises(ValueError, match='for training'):
        TaskAwarePad((9, 12), mode='reflect', with_gt=False)


def test_padding_after_the_crop_is_padding_before_it(make_sample):
    """Auto-Lambda pads, then crops; the other order gives the same from the same draws."""
    for factor in (0.5, 0.8):
        steps = [TaskAwareCrop((10, 10)), TaskAwarePad((10, 10), mode='reflect')]
        outs = []
        for order in (steps, steps[::-1]):
            sample = make_sample((12, 17), seed=1)
            for transform in (TaskAwareRandomScale(scales=[factor]), *order, TaskAwareFlip(1)):
                sample = transform.transform(sample)
            outs.append(sample)
        assert np.array_equal(outs[0]['img'], outs[1]['img'])
        for key, gt in outs[0]['gt'].items():
            assert np.array_equal(gt, outs[1]['gt'][key]), key


@pytest.mark.parametrize(
    ('kind', 'power'), [('metric', -1), ('disparity_px', 1), ('inverse_norm', 1)]
)
@pytest.mark.parametrize(
    'transform',
    [
        TaskAwareRandomScale(scales=[2.0]),
        TaskAwareRandomScaleCrop(scales=[2.0]),
    ],
    ids=lambda t: type(t).__name__,
)
def test_zoom_follows_the_kind_of_depth(make_sample, transform, kind, power):
    tasks = build_tasks(dict(depth=dict(type='Depth', kind=kind, min_depth=0.0, max_depth=99.0)))
    unknown = tasks['depth'].ignore_value
    gt = np.random.default_rng(0).uniform(1, 9, (8, 10)).astype(np.float32)
    gt[:3] = unknown
    gt[4:6] = 0  # a measurement in disparity, unknown otherwise
    sample = dict(make_sample((8, 10)), tasks=tasks, gt=dict(depth=gt.copy()))
    out = transform.transform(sample)['gt']['depth']
    expected = set(gt[gt > 0] * np.float32(2.0**power)) | {unknown, 0.0}
    assert set(out.ravel().tolist()) <= expected
    # A fixed resize is no zoom.
    sample = dict(make_sample((8, 10)), tasks=tasks, gt=dict(depth=gt.copy()))
    assert np.isin(TaskAwareResize((16, 20)).transform(sample)['gt']['depth'], gt).all()


def test_cubic_resize_of_pictures_is_clipped_and_of_normals_has_unit_length(make_sample):
    img = np.zeros((8, 8, 3), np.uint8)
    img[:, 4:] = 255
    sample = make_sample((8, 8), unknown=0)
    sample['img'] = img
    transform = TaskAwareResize(
        (16, 20), image_interpolation='cubic', interpolation=dict(normal='cubic')
    )
    sample = transform.transform(sample)
    exact = cv2.resize(img.astype(np.float32), (20, 16), interpolation=cv2.INTER_CUBIC)
    assert exact.max() > 256 and exact.min() < -1  # what wraps around in the released code
    assert np.abs(sample['img'] - np.clip(exact, 0, 255)).max() <= 1
    assert np.allclose(np.linalg.norm(sample['gt']['normal'], axis=-1), 1, atol=1e-5)
