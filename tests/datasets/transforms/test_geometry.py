"""Rules that every transform that moves pixels must obey, on an analytic scene."""

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
    TaskAwareRandomScaleCrop,
    TaskAwareResize,
    TaskAwareRotate,
    TaskAwareScaleRotate,
)
from mmdense.tasks import build_tasks

SIDE = 27
TASKS = build_tasks(dict(depth=dict(type='Depth', max_depth=1000.0), normal=dict(type='Normal')))


def rays(intrinsics, size):
    """Points at depth 1 through the pixel centres; x right, y up, z towards the camera."""
    rows, cols = np.mgrid[: size[0], : size[1]] + 0.5
    x = (cols - intrinsics[0, 2]) / intrinsics[0, 0]
    y = -(rows - intrinsics[1, 2]) / intrinsics[1, 1]
    return np.stack([x, y, -np.ones_like(x)], axis=-1)


def plane_sample(slope, distance=3.0, focal=(25.0, 25.0), centre=(14.2, 12.9), seed=0):
    """A picture of one plane, with exact depth and normals."""
    normal = np.array([*slope, 1.0])
    normal /= np.linalg.norm(normal)
    intrinsics = np.array([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1.0]])
    depth = -distance / (rays(intrinsics, (SIDE, SIDE)) @ normal)
    gt = dict(
        depth=depth.astype(np.float32),
        normal=np.broadcast_to(normal, (SIDE, SIDE, 3)).astype(np.float32).copy(),
    )
    return dict(
        img=np.zeros((SIDE, SIDE, 3), np.uint8),
        gt=gt,
        tasks=TASKS,
        rng=np.random.default_rng(seed),
        intrinsics=intrinsics,
        img_shape=(SIDE, SIDE),
    )


def derive_normals(depth, intrinsics):
    """Unit normals of the lifted points by differences of neighbours; facing the camera."""
    points = depth[..., None].astype(np.float64) * rays(intrinsics, depth.shape)
    right = points[:-1, 1:] - points[:-1, :-1]
    down = points[1:, :-1] - points[:-1, :-1]
    normals = np.cross(down, right)
    return normals / np.linalg.norm(normals, axis=-1, keepdims=True)


#: Moves under which nearest resampling is exact, so that the rule holds to rounding.
EXACT = {
    'flip': lambda: TaskAwareFlip(prob=1),
    'zoom out': lambda: TaskAwareRandomScale((1 / 3, 1 / 3)),
    'crop': lambda: TaskAwareCrop((7, 8)),
    'border': lambda: TaskAwareBorderCrop((0, 7), (1, 8)),
    'turn': lambda: TaskAwareRotate((90, 90), prob=1),
    'half turn': lambda: TaskAwareRotate((180, 180), prob=1),
    'resize': lambda: TaskAwareResize(size=(9, 9)),
}


def apply(sample, names):
    for name in names:
        too_small = min(sample['img'].shape[:2]) < 9
        if too_small and name in ('zoom out', 'border', 'resize'):
            continue
        if name in ('turn',) and len(set(sample['img'].shape[:2])) > 1:
            continue
        sample = EXACT[name]().transform(sample)
    return sample


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(st.sampled_from(sorted(EXACT)), min_size=1, max_size=4),
    slope=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
    seed=st.integers(0, 100),
)
def test_moved_normals_are_the_normals_of_the_moved_depth(names, slope, seed):
    sample = apply(plane_sample(slope, seed=seed), names)
    derived = derive_normals(sample['gt']['depth'], sample['intrinsics'])
    assert np.allclose(derived, sample['gt']['normal'][:-1, :-1], atol=1e-4)


@pytest.mark.parametrize('factor', [1 / 3, 1 / 9])
def test_zoom_shrinks_the_scene_and_scales_the_focal_length(factor):
    sample = TaskAwareRandomScale((factor, factor)).transform(plane_sample((0.3, -0.2)))
    points = sample['gt']['depth'][..., None] * rays(sample['intrinsics'], sample['img'].shape[:2])
    distance = -(points * sample['gt']['normal']).sum(-1)
    assert np.allclose(distance, 3.0 / factor, rtol=1e-5)
    assert sample['depth_scale'] == pytest.approx(1 / factor)
    assert sample['intrinsics'][0, 0] == pytest.approx(25 * factor)


@pytest.mark.parametrize('degrees', [-20.0, 5.0, 33.0])
def test_rotation_turns_normals_with_the_picture(degrees):
    transform = TaskAwareRotate(
        (degrees, degrees), prob=1, interpolation=dict(depth='linear', normal='linear')
    )
    sample = transform.transform(plane_sample((0.4, 0.3)))
    known = sample['gt']['depth'] > 0
    inner = known[:-1, :-1] & known[1:, :-1] & known[:-1, 1:]
    inner[:2] = inner[-2:] = inner[:, :2] = inner[:, -2:] = False
    derived = derive_normals(np.where(known, sample['gt']['depth'], 1), sample['intrinsics'])
    cosine = (derived * sample['gt']['normal'][:-1, :-1]).sum(-1)[inner]
    # Linear interpolation of depth, not of its inverse, is the remaining error.
    assert np.rad2deg(np.arccos(np.clip(cosine, -1, 1))).mean() < 1.5
    wrong = np.array([-1, 1, 1]) * sample['gt']['normal'][:-1, :-1]
    assert np.rad2deg(np.arccos(np.clip((derived * wrong).sum(-1)[inner], -1, 1))).mean() > 5


def test_anisotropic_resize_leaves_values_alone_and_moves_intrinsics():
    before = plane_sample((0.2, 0.1))
    values = {key: np.unique(gt.reshape(-1), axis=0) for key, gt in before['gt'].items()}
    after = TaskAwareResize(size=(9, 81)).transform(before)
    for key, gt in after['gt'].items():
        assert np.isin(gt, values[key]).all()
    assert after['intrinsics'][0].tolist() == pytest.approx([75.0, 0, 14.2 * 3])
    assert after['intrinsics'][1].tolist() == pytest.approx([0, 25 / 3, 12.9 / 3])
    assert after['scale_factor'] == pytest.approx((3.0, 1 / 3))


def geometric_steps():
    return [
        TaskAwareRandomScale((0.6, 1.7), interpolation=dict(depth='linear', normal='linear')),
        TaskAwareRandomScale((0.5, 2.0), step=0.25),
        TaskAwareRotate(30, prob=1),
        TaskAwareRotate(30, prob=1, interpolation=dict(depth='linear', normal='linear')),
        TaskAwareResize(size=(11, 13), interpolation=dict(normal='linear')),
        TaskAwareResize(size=(10, 10), keep_ratio=True),
        TaskAwareCrop((8, 9), cat_max_ratio=0.5),
        TaskAwareCrop((9, 7), mode='center'),
        TaskAwareFlip(),
        TaskAwareScaleRotate(),
        TaskAwareRandomScaleCrop(align_corners=True, interpolation=dict(normal='linear')),
        TaskAwareRandomScaleCrop(image_interpolation='cubic', interpolation=dict(normal='cubic')),
        TaskAwareResize(
            size=(12, 14),
            image_interpolation='cubic',
            interpolation=dict(normal='cubic', depth='linear'),
            nearest='corner',
        ),
    ]


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.integers(0, 1000),
    order=st.permutations(range(len(geometric_steps()))),
    height=st.integers(3, 20),
    width=st.integers(3, 20),
)
def test_invalid_stays_invalid_and_nothing_is_invented(make_sample, seed, order, height, width):
    sample = make_sample((height, width), seed, unknown=1.0)
    steps = geometric_steps()
    for index in order:
        sample = steps[index].transform(sample)
    sample = TaskAwarePad(size=(30, 31), position='center').transform(sample)
    for key, gt in sample['gt'].items():
        assert gt.shape[:2] == (30, 31)
        assert not sample['tasks'][key].valid(gt).any()


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.integers(0, 1000),
    order=st.permutations(range(len(geometric_steps()))),
    unknown=st.sampled_from([0.0, 0.3, 0.9]),
)
def test_labels_are_never_invented_and_values_keep_their_range(make_sample, seed, order, unknown):
    sample = make_sample((14, 15), seed, unknown)
    before = {key: gt.copy() for key, gt in sample['gt'].items()}
    steps = geometric_steps()
    for index in order:
        sample = steps[index].transform(sample)
    for key, gt in sample['gt'].items():
        task = sample['tasks'][key]
        assert gt.dtype == task.dtype
        if gt.dtype == np.uint8:
            assert np.isin(gt, np.append(before[key], task.ignore_value)).all()
        elif key == 'normal':
            length = np.linalg.norm(gt, axis=-1)
            assert np.allclose(length[task.valid(gt)], 1, atol=1e-5)
            assert (length[~task.valid(gt)] == 0).all()
        else:
            metres = gt[gt != 0] / sample['depth_scale']
            known = before[key][before[key] > 0]
            if metres.size:
                assert metres.min() >= known.min() * 0.999
                assert metres.max() <= known.max() * 1.001
