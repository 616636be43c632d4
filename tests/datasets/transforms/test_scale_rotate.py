import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmdense.datasets.rooms.constants import SPLITS
from mmdense.datasets.rooms.render import render_scene
from mmdense.datasets.rooms.scene import sample_scene
from mmdense.datasets.transforms import TaskAwareFlip, TaskAwareRotate, TaskAwareScaleRotate
from mmdense.tasks import build_tasks

INDOORS = build_tasks(
    dict(
        semseg=dict(type='SemSeg', num_classes=13),
        depth=dict(type='Depth'),
        normal=dict(type='Normal'),
    )
)


def room(index, size, roll=0.0, zoom=1.0):
    """A rendered room; the camera turned by ``roll`` radians and zoomed, its axis in the middle."""
    scene = sample_scene(0, SPLITS['train'], index)
    camera = scene.cameras[0]
    camera = dataclasses.replace(
        camera, roll=camera.roll + roll, zoom=camera.zoom * zoom, shift=(0.0, 0.0)
    )
    scene = dataclasses.replace(scene, cameras=(camera, *scene.cameras[1:]))
    return render_scene(scene, size, 0, np.random.default_rng(0))


def moved_room(index, size, transform, **camera):
    """A room through ``transform``."""
    sample = room(index, size, **camera)
    results = dict(
        img=sample.image,
        gt={key: sample.gt[key].copy() for key in INDOORS},
        tasks=INDOORS,
        rng=np.random.default_rng(0),
        intrinsics=sample.intrinsics,
    )
    results['gt']['depth'] = sample.depth.copy()
    return transform.transform(results)


def angles(a, b):
    return np.rad2deg(np.arccos(np.clip((a * b).sum(-1), -1, 1)))


@pytest.mark.parametrize(
    ('degrees', 'factor'), [(20.0, 1.0), (-35.0, 1.0), (0.0, 1.5), (15.0, 1.2)]
)
def test_a_warped_picture_is_that_of_a_rolled_and_zoomed_camera(degrees, factor):
    size, border = (180, 240), 5
    transform = TaskAwareScaleRotate(scales=[factor], angles=[degrees])
    warped = moved_room(3, size, transform)
    # The picture turns counter-clockwise when the camera turns clockwise.
    truth = room(3, size, roll=-np.deg2rad(degrees), zoom=factor)
    inside = warped['gt']['depth'] > 0
    inside[:border] = inside[-border:] = inside[:, :border] = inside[:, -border:] = False
    assert inside.mean() > 0.5
    error = angles(warped['gt']['normal'], truth.gt['normal'])[inside]
    # Flat surfaces are exact; edges and curved things differ by up to a pixel's step.
    assert np.median(error) < 0.1 and (error < 3).mean() > 0.9
    # Zoomed by s, depth is divided by s: what a network sees that does not know the focal length.
    ratio = (warped['gt']['depth'] * factor / truth.depth)[inside]
    assert np.percentile(np.abs(ratio - 1), 90) < 0.02
    assert (warped['gt']['semseg'] == truth.gt['semseg'])[inside].mean() > 0.95
    assert warped['intrinsics'][0, 0] == pytest.approx(truth.intrinsics[0, 0])
    # The released code's centre is half a pixel beside the camera's axis.
    assert np.allclose(warped['intrinsics'][:2, 2], truth.intrinsics[:2, 2], atol=0.5)


def test_the_released_sense_of_rotation_is_wrong_for_y_up():
    truth = room(3, (90, 120), roll=-np.deg2rad(20)).gt['normal']
    right = {}
    for sense in ('up', 'down'):
        transform = TaskAwareScaleRotate(scales=[1], angles=[20], normals_y=sense)
        warped = moved_room(3, (90, 120), transform)
        inside = warped['gt']['depth'] > 0
        right[sense] = (angles(warped['gt']['normal'], truth)[inside] < 3).mean()
    # A surface that faces the camera hardly notices; all others do.
    assert right['up'] > 0.8 and right['down'] < 0.2


def test_plain_rotation_is_that_of_a_rolled_camera_too():
    warped = moved_room(5, (90, 120), TaskAwareRotate((-25, -25), prob=1))
    truth = room(5, (90, 120), roll=np.deg2rad(25))
    inside = warped['gt']['depth'] > 0
    error = angles(warped['gt']['normal'], truth.gt['normal'])[inside]
    assert np.median(error) < 0.1 and (error < 3).mean() > 0.8


def test_values_are_those_of_the_affine_warp(make_sample):
    size, degrees, s = (30, 41), 12.0, 1.25
    sample, before = make_sample(size, unknown=0), make_sample(size, unknown=0)
    sample = TaskAwareScaleRotate(scales=[s], angles=[degrees], fill='zero').transform(sample)
    matrix = cv2.getRotationMatrix2D((size[1] / 2, size[0] / 2), degrees, s)

    def warp(array, flag):
        return cv2.warpAffine(array, matrix, size[::-1], flags=flag)

    assert np.array_equal(sample['img'], warp(before['img'], cv2.INTER_CUBIC))
    for key in ('semseg', 'part', 'boundary', 'saliency'):
        assert np.array_equal(sample['gt'][key], warp(before['gt'][key], cv2.INTER_NEAREST)), key
    depth = warp(before['gt']['depth'], cv2.INTER_NEAREST) / np.float32(s)
    assert np.array_equal(sample['gt']['depth'], depth)
    # Where all 16 pixels under the cubic are known (here: inside the picture), normals are cubic.
    cubic = warp(before['gt']['normal'], cv2.INTER_CUBIC)
    t = np.deg2rad(degrees)
    x = cubic[..., 0] * np.cos(t) - cubic[..., 1] * np.sin(t)
    y = cubic[..., 0] * np.sin(t) + cubic[..., 1] * np.cos(t)
    cubic = np.stack([x, y, cubic[..., 2]], -1)
    cubic /= np.linalg.norm(cubic, axis=-1, keepdims=True)
    inner = slice(8, -8), slice(10, -10)
    assert np.allclose(sample['gt']['normal'][inner], cubic[inner], atol=1e-5)
    assert sample['rotation'] == pytest.approx(t)
    assert sample['depth_scale'] == pytest.approx(1 / s)


def test_outside_is_unknown_or_zero_as_asked(make_sample):
    corner = {}
    for fill in ('ignore', 'zero'):
        transform = TaskAwareScaleRotate(scales=[0.5], angles=[0], fill=fill)
        sample = transform.transform(make_sample((20, 24), unknown=0))
        corner[fill] = {key: gt[0, 0] for key, gt in sample['gt'].items()}
        assert (sample['img'][0, 0] == 0).all()
    for key, task in sample['tasks'].items():
        assert (corner['ignore'][key] == task.ignore_value).all()
        assert (corner['zero'][key] == 0).all()


def test_zero_fill_of_disparity_is_infinitely_far(make_sample):
    tasks = build_tasks(dict(depth=dict(type='Depth', kind='disparity_px', max_depth=100.0)))
    gt = np.full((12, 12), 8.0, np.float32)
    gt[6, 6] = -1
    for fill, outside in (('ignore', -1), ('zero', 0)):
        sample = dict(make_sample((12, 12)), tasks=tasks, gt=dict(depth=gt.copy()))
        transform = TaskAwareScaleRotate(scales=[0.5], angles=[0], fill=fill)
        depth = transform.transform(sample)['gt']['depth']
        # Disparity grows with the focal length: half of it at half the size.
        assert depth[0, 0] == outside and depth[5, 5] == 4.0 and depth[6, 6] == -1


def test_identity_draw_leaves_the_sample(make_sample):
    before, sample = make_sample(), make_sample()
    sample = TaskAwareScaleRotate(scales=[1.0], angles=[0]).transform(sample)
    assert np.array_equal(sample['img'], before['img'])
    assert all(np.array_equal(sample['gt'][key], gt) for key, gt in before['gt'].items())


def test_draws_come_from_lists_and_ranges():
    rng = np.random.default_rng(0)
    listed = TaskAwareScaleRotate(scales=[1.0, 1.2, 1.5], angles=[0, 90])
    assert {listed.draw(rng) for _ in range(200)} == {
        (s, a) for s in (1.0, 1.2, 1.5) for a in (0.0, 90.0)
    }
    drawn = np.array([TaskAwareScaleRotate().draw(rng) for _ in range(500)])
    assert 0.75 <= drawn[:, 0].min() < 0.76 and 1.24 < drawn[:, 0].max() <= 1.25
    assert -20 <= drawn[:, 1].min() < -19 and 19 < drawn[:, 1].max() <= 20


@settings(max_examples=40, deadline=None)
@given(
    factor=st.floats(0.6, 1.8),
    degrees=st.floats(-45, 45),
    edge=st.integers(6, 18),
    mode=st.sampled_from(['linear', 'cubic']),
)
def test_nothing_bleeds_over_the_border_of_the_known_region(factor, degrees, edge, mode):
    """Two constant normals, one of them unknown: every known vector is exactly the other."""
    tasks = build_tasks(dict(normal=dict(type='Normal')))
    vector = np.float32([0.6, 0.0, 0.8])
    gt = np.zeros((24, 25, 3), np.float32)
    gt[:, edge:] = vector
    sample = dict(
        img=np.zeros((24, 25, 3), np.uint8),
        gt=dict(normal=gt),
        tasks=tasks,
        rng=np.random.default_rng(0),
    )
    transform = TaskAwareScaleRotate(
        scales=[factor], angles=[degrees], interpolation=dict(normal=mode)
    )
    normal = transform.transform(sample)['gt']['normal']
    known = tasks['normal'].valid(normal)
    assert known.any() and not known.all()
    turned = tasks['normal'].rotate(vector[None, None], np.deg2rad(degrees))[0, 0]
    assert np.allclose(normal[known], turned, atol=1e-5)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(degrees=st.floats(-30, 30), seed=st.integers(0, 50))
def test_mirroring_then_turning_is_turning_back_then_mirroring(make_sample, degrees, seed):
    """Flip and rotation of the values obey the algebra of the plane."""
    normal = make_sample((4, 5), seed)['gt']['normal']
    task = INDOORS['normal']
    angle = np.deg2rad(degrees)
    one = task.rotate(task.flip(normal), angle)
    other = task.flip(task.rotate(normal, -angle))
    assert np.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    ('kwargs', 'words'),
    [
        (dict(scale_range=(0, 1)), '0 < low'),
        (dict(scales=[]), 'positive factors'),
        (dict(degrees=(5, -5)), 'low <= high'),
        (dict(angles=[]), 'at least one angle'),
        (dict(fill='wall'), "'wall'.*'ignore' or 'zero'"),
        (dict(normals_y='left'), "'left'.*'up' or 'down'"),
        (dict(image_interpolation='area'), "'area'"),
        (dict(interpolation=dict(depth='area')), r"interpolation\['depth'\]"),
    ],
)
def test_impossible_arguments_are_named_at_build(kwargs, words):
    with pytest.raises(ValueError, match=words):
        TaskAwareScaleRotate(**kwargs)


def test_cubic_depth_is_refused_with_the_reason(make_sample):
    transform = TaskAwareScaleRotate(interpolation=dict(depth='cubic'))
    with pytest.raises(ValueError, match=r"interpolation\['depth'\].*'nearest' or 'linear'"):
        transform.transform(make_sample())


def test_flip_probability_is_independent_of_the_warp(make_sample):
    """One generator per sample: the same seed gives the same flip and the same warp."""
    outs = []
    for _ in range(2):
        sample = make_sample()
        for transform in (TaskAwareFlip(), TaskAwareScaleRotate()):
            sample = transform.transform(sample)
        outs.append(sample)
    assert np.array_equal(outs[0]['img'], outs[1]['img'])
    assert outs[0]['rotation'] == outs[1]['rotation']
