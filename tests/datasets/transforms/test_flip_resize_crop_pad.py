import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmdense.datasets.transforms import (
    TaskAwareBorderCrop,
    TaskAwareCrop,
    TaskAwareFlip,
    TaskAwarePad,
    TaskAwareRandomScale,
    TaskAwareResize,
    TaskAwareRotate,
)
from mmdense.utils.padding import padding_of

any_sample = given(height=st.integers(1, 12), width=st.integers(1, 12), seed=st.integers(0, 999))
few = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@few
@any_sample
def test_two_flips_give_back_everything(make_sample, height, width, seed):
    before, sample = (make_sample((height, width), seed) for _ in range(2))
    for _ in range(2):
        sample = TaskAwareFlip(prob=1).transform(sample)
    assert np.array_equal(sample['img'], before['img'])
    assert np.allclose(sample['intrinsics'], before['intrinsics'])
    for key, gt in before['gt'].items():
        assert np.array_equal(sample['gt'][key], gt)


@few
@any_sample
def test_one_flip_negates_x_of_normals_and_nothing_else(make_sample, height, width, seed):
    before, sample = (make_sample((height, width), seed) for _ in range(2))
    sample = TaskAwareFlip(prob=1).transform(sample)
    assert np.array_equal(sample['img'], before['img'][:, ::-1])
    for key, gt in before['gt'].items():
        mirrored = gt[:, ::-1] * (np.array([-1, 1, 1]) if key == 'normal' else 1)
        assert np.array_equal(sample['gt'][key], mirrored), key
    assert sample['flip'] and sample['flip_direction'] == 'horizontal'


def test_flip_probability_zero_leaves_the_sample(make_sample):
    before, sample = make_sample(), TaskAwareFlip(prob=0).transform(make_sample())
    assert np.array_equal(sample['img'], before['img']) and not sample['flip']


def test_a_picture_without_any_label_moves_too(make_sample):
    sample = make_sample()
    sample['gt'] = {}
    for transform in (
        TaskAwareFlip(1),
        TaskAwareRandomScale((2, 2)),
        TaskAwareCrop((9, 9), cat_max_ratio=0.75),
        TaskAwareRotate(10, 1),
        TaskAwareResize((5, 6)),
        TaskAwarePad((8, 8)),
    ):
        sample = transform.transform(sample)
    assert sample['img'].shape == (8, 8, 3) and sample['gt'] == {}


@pytest.mark.parametrize(
    ('kwargs', 'expected'),
    [
        (dict(size=(24, 20)), (24, 20)),
        (dict(size=(24, 20), keep_ratio=True), (14, 20)),
        (dict(scale_factor=0.5), (6, 9)),
    ],
)
def test_resize_target_sizes(make_sample, kwargs, expected):
    sample = TaskAwareResize(**kwargs).transform(make_sample((12, 17)))
    assert sample['img'].shape[:2] == sample['img_shape'] == expected
    assert all(gt.shape[:2] == expected for gt in sample['gt'].values())


def test_resize_of_the_picture_only_leaves_ground_truth_native(make_sample):
    before = make_sample((12, 17))
    sample = TaskAwareResize((24, 34), with_gt=False).transform(make_sample((12, 17)))
    assert sample['img'].shape[:2] == (24, 34) and sample['ori_shape'] == (12, 17)
    assert all(np.array_equal(sample['gt'][key], gt) for key, gt in before['gt'].items())


def test_random_scale_divides_depth_and_can_be_told_not_to(make_sample):
    before = np.unique(make_sample()['gt']['depth'])
    zoomed = TaskAwareRandomScale((2, 2)).transform(make_sample())
    assert np.allclose(np.unique(zoomed['gt']['depth']), before / 2)
    plain = TaskAwareRandomScale((2, 2), zoom=False).transform(make_sample())
    assert np.array_equal(np.unique(plain['gt']['depth']), before)
    assert 'depth_scale' not in plain


def test_random_scale_with_a_step_draws_from_a_grid():
    transform = TaskAwareRandomScale((0.5, 2.0), step=0.1)
    rng = np.random.default_rng(0)
    drawn = {round(transform.draw(rng), 6) for _ in range(500)}
    assert drawn == {round(0.5 + 0.1 * i, 6) for i in range(16)}


def test_centre_crop_offsets(make_sample):
    before, sample = make_sample((12, 17)), make_sample((12, 17))
    sample = TaskAwareCrop((7, 8), mode='center').transform(sample)
    # floor(5 / 2) rows and floor(9 / 2) columns are cut first.
    assert np.array_equal(sample['img'], before['img'][2:9, 4:12])
    assert np.array_equal(sample['gt']['depth'], before['gt']['depth'][2:9, 4:12])
    assert sample['intrinsics'][0, 2] == before['intrinsics'][0, 2] - 4


def test_random_crop_reaches_every_offset_and_keeps_targets_aligned(make_sample):
    offsets = set()
    for seed in range(60):
        sample = make_sample((5, 6))
        sample['rng'] = np.random.default_rng(seed)
        index = np.arange(30).reshape(5, 6)
        sample['img'][..., 0] = index
        sample['gt'] = dict(depth=index.astype(np.float32))
        sample = TaskAwareCrop((4, 4)).transform(sample)
        assert np.array_equal(sample['img'][..., 0], sample['gt']['depth'])
        offsets.add(divmod(int(sample['img'][0, 0, 0]), 6))
    assert offsets == {(row, col) for row in range(2) for col in range(3)}


def test_crop_larger_than_the_picture_cuts_nothing(make_sample):
    before = make_sample((5, 9))
    sample = TaskAwareCrop((8, 4)).transform(make_sample((5, 9)))
    assert sample['img'].shape == (5, 4, 3)
    assert sample['intrinsics'][1, 2] == before['intrinsics'][1, 2]


def test_crop_avoids_windows_of_one_class(make_sample):
    hits = 0
    for seed in range(40):
        sample = make_sample((8, 40), unknown=0)
        sample['rng'] = np.random.default_rng(seed)
        labels = np.zeros((8, 40), np.uint8)
        labels[:, 18:22] = 1
        sample['gt']['semseg'] = labels
        window = TaskAwareCrop((8, 8), cat_max_ratio=0.75).transform(sample)['gt']['semseg']
        hits += 0.25 < window.mean() < 0.75
    # One draw succeeds for 7 of 33 offsets; eleven draws do with 93 %.
    assert hits > 30


def test_border_crop_of_nyu_frames(make_sample):
    sample = TaskAwareBorderCrop().transform(make_sample((480, 640)))
    assert sample['img'].shape == (427, 565, 3)
    with pytest.raises(ValueError, match=r'472x608.*425x560'):
        TaskAwareBorderCrop().transform(make_sample((425, 560)))


@settings(max_examples=40, deadline=None)
@given(*[st.integers(1, 20)] * 4, st.sampled_from(['corner', 'center']))
def test_padding_adds_up_and_is_centred(height, width, to_height, to_width, position):
    left, right, top, bottom = padding_of((height, width), (to_height, to_width), position)
    assert left + right == max(to_width - width, 0)
    assert top + bottom == max(to_height - height, 0)
    if position == 'corner':
        assert left == top == 0
    else:
        assert right - left in (0, 1) and bottom - top in (0, 1)


def test_pad_marks_targets_unknown_and_keeps_count(make_sample):
    before = make_sample((12, 17))
    sample = TaskAwarePad(size=(15, 22), position='center').transform(make_sample((12, 17)))
    assert sample['padding_size'] == (2, 3, 1, 2)
    assert sample['img_shape'] == (12, 17) and sample['pad_shape'] == (15, 22)
    assert np.array_equal(sample['img'][1:13, 2:19], before['img'])
    for key, gt in sample['gt'].items():
        assert np.array_equal(gt[1:13, 2:19], before['gt'][key])
        outside = np.ones((15, 22), bool)
        outside[1:13, 2:19] = False
        assert not sample['tasks'][key].valid(gt)[outside].any()
    assert sample['intrinsics'][:2, 2].tolist() == [8.5 + 2, 6 + 1]
    flipped = TaskAwareFlip(1).transform(sample)
    assert flipped['padding_size'] == (3, 2, 1, 2)


def test_pad_to_a_divisor(make_sample):
    sample = TaskAwarePad(divisor=8).transform(make_sample((12, 16)))
    assert sample['img'].shape[:2] == (16, 16) and sample['padding_size'] == (0, 0, 0, 4)


def test_moving_a_padded_picture_is_refused(make_sample):
    sample = TaskAwarePad(divisor=8).transform(make_sample())
    with pytest.raises(ValueError, match='TaskAwareCrop comes after TaskAwarePad'):
        TaskAwareCrop((4, 4)).transform(sample)


@pytest.mark.parametrize(
    ('build', 'words'),
    [
        (lambda: TaskAwareFlip(1.5), 'prob'),
        (lambda: TaskAwareResize(), 'give one'),
        (lambda: TaskAwareResize((4, 0)), 'not positive'),
        (lambda: TaskAwareResize(scale_factor=0), 'not positive'),
        (lambda: TaskAwareResize((4, 4), interpolation=dict(depth='bicubic')), 'bicubic.*cubic'),
        (lambda: TaskAwareRandomScale((2, 1)), 'low <= high'),
        (lambda: TaskAwareCrop((4, 4), mode='middle'), 'middle'),
        (lambda: TaskAwarePad(size=(4, 4), divisor=2), 'give one'),
        (lambda: TaskAwarePad(size=(4, 4), position='left'), 'left'),
        (lambda: TaskAwareRotate((5, -5)), 'low <= high'),
        (lambda: TaskAwareBorderCrop((5, 5)), 'empty'),
    ],
)
def test_impossible_arguments_are_named_at_build(build, words):
    with pytest.raises(ValueError, match=words):
        build()
