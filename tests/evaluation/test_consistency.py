import numpy as np
import pytest
import torch

from mmdense.datasets import RoomsDataset
from mmdense.datasets.rooms import render_room
from mmdense.evaluation import (
    BoundarySegmentationAgreement,
    MultiTaskEvaluator,
    NormalDepthConsistencyMetric,
    ViewConsistencyMetric,
)
from mmdense.evaluation.geometry import (
    native_intrinsics,
    normals_from_depth,
    normals_from_inverse_depth,
)
from mmdense.evaluation.metrics.normal_metric import angular_error
from mmdense.models.data_preprocessor import DenseDataPreprocessor
from mmdense.structures import DenseDataSample
from mmdense.tasks import build_tasks
from mmdense.utils import DataError

CONFIG = dict(
    semseg=dict(type='SemSeg', num_classes=13),
    depth=dict(type='Depth'),
    normal=dict(type='Normal'),
    boundary=dict(type='Boundary'),
)
TASKS = build_tasks(CONFIG)
CAMERA = np.array([[90.0, 0, 31.0], [0, 80.0, 26.5], [0, 0, 1]])


def plane_depth(normal, distance, size=(48, 64)):
    """Depth of the plane ``normal . P = -distance`` by intersecting every ray."""
    depth = np.zeros(size)
    for row in range(size[0]):
        for col in range(size[1]):
            x = (col + 0.5 - CAMERA[0, 2]) / CAMERA[0, 0]
            y = (CAMERA[1, 2] - row - 0.5) / CAMERA[1, 1]
            slant = normal @ [x, y, -1]
            depth[row, col] = -distance / slant if slant else np.inf
    return depth


@pytest.mark.parametrize('normal', [(0, 0, 1), (0.6, 0, 0.8), (0, 0.8, 0.6), (-0.5, 0.3, 0.8)])
def test_normals_of_a_plane_are_exact_at_every_pixel(normal):
    normal = np.asarray(normal) / np.linalg.norm(normal)
    depth = plane_depth(normal, 2.0)
    depth[depth <= 0] = np.nan
    found = normals_from_depth(depth, CAMERA)
    known = np.isfinite(depth)
    assert angular_error(found[known], np.broadcast_to(normal, found[known].shape)).max() < 1e-5
    assert (found[~known] == 0).all()
    # Any unit of inverse depth gives the same directions.
    scaled = normals_from_inverse_depth(7 / depth, CAMERA)
    assert np.abs(scaled - found).max() < 1e-9


def test_pixels_beside_a_crease_and_an_occlusion_take_their_own_surface():
    wall, floor = (
        plane_depth(np.asarray(n, float), d) for n, d in (((0, 0, 1), 4.0), ((0, 1, 0), 1.0))
    )
    floor[floor <= 0] = np.inf
    depth = np.minimum(wall, floor)
    depth[5:15, 20:40] = 1.5
    found = normals_from_depth(depth, CAMERA)
    truth = np.zeros_like(found)
    truth[..., 2] = 1
    truth[floor < wall] = (0, 1, 0)
    assert angular_error(found.reshape(-1, 3), truth.reshape(-1, 3)).max() < 1e-4


def test_holes_and_lone_pixels_have_no_normal():
    depth = np.full((6, 6), 2.0)
    depth[2:] = 0
    depth[4, 4] = 2
    found = normals_from_depth(depth, CAMERA)
    assert (found[2:] == 0).all()
    assert np.allclose(found[:2], (0, 0, 1))


@pytest.mark.parametrize(
    ('size', 'mean', 'planes'), [((120, 160), 3.5, 1.0), ((240, 320), 1.0, 0.3)]
)
def test_normals_of_rendered_rooms(size, mean, planes):
    room = render_room(0, 'val', 0, size)
    error = angular_error(
        normals_from_depth(room.depth, room.intrinsics).reshape(-1, 3),
        room.gt['normal'].reshape(-1, 3),
    ).reshape(size)
    assert np.median(error) < 0.001
    assert error.mean() < mean
    # Instances 1 to 6 are floor, ceiling and walls.
    assert error[room.instances <= 6].mean() < planes


def test_intrinsics_follow_padding_and_resize_back_to_the_native_size():
    rng = np.random.default_rng(0)
    native = CAMERA
    # 48x64 on disk, resized to 96x160, padded to 100x170 around the centre.
    resized = np.diag([2.5, 2.0, 1.0]) @ native
    sample = DenseDataSample(
        metainfo=dict(ori_shape=(48, 64), img_shape=(96, 160), intrinsics=resized)
    )
    preprocessor = DenseDataPreprocessor(CONFIG, size=(100, 170), pad_mode='center')
    image = torch.from_numpy(rng.integers(0, 255, (3, 96, 160), dtype=np.uint8))
    padded = preprocessor(dict(inputs=[image], data_samples=[sample]))['data_samples'][0]
    assert padded.metainfo['intrinsics'][0, 2] == resized[0, 2] + 5
    assert np.allclose(native_intrinsics(padded.metainfo, (48, 64)), native)
    assert np.allclose(native_intrinsics(padded.metainfo, (96, 160)), resized)
    assert np.allclose(native_intrinsics(dict(intrinsics=native), (48, 64)), native)


@pytest.fixture(scope='module')
def rooms():
    return RoomsDataset(
        CONFIG,
        length=3,
        split='val',
        size=(120, 160),
        views='both',
        pipeline=[dict(type='mmdense.PackDenseInputs')],
        test_mode=True,
    )


def answered(dataset, change=lambda key, value, view: value):
    """Samples whose predictions are the ground truth, changed."""
    samples = []
    for index in range(len(dataset)):
        sample = dataset[index]['data_samples']
        for key, task in TASKS.items():
            value = change(key, sample.gt(task), sample.metainfo['view'])
            sample.set_pred(task, value.float() if key == 'boundary' else value)
        samples.append(sample)
    return samples


def score(samples, *metrics):
    evaluator = MultiTaskEvaluator(
        tasks=CONFIG, metrics={k: [] for k in CONFIG}, cross_task=metrics
    )
    for sample in samples:
        evaluator.process([sample])
    return evaluator.evaluate(len(samples)), evaluator.report


def test_both_views_are_listed_with_their_cameras(rooms):
    assert len(rooms) == 6
    first, second = (rooms[i]['data_samples'].metainfo for i in (2, 3))
    assert first['pair_id'] == second['pair_id'] == 'rooms-0-val-000001'
    assert (first['view'], second['view']) == (0, 1)
    assert first['sample_id'] != second['sample_id']
    room = render_room(0, 'val', 1, (120, 160), 1)
    assert np.array_equal(second['pose'], room.pose)
    with pytest.raises(ValueError, match="views is 'second'; choose 'first' or 'both'"):
        RoomsDataset(CONFIG, length=1, views='second')


METRICS = [
    dict(type='NormalDepthConsistencyMetric'),
    dict(type='BoundarySegmentationAgreement'),
    dict(type='ViewConsistencyMetric'),
]


def test_ground_truth_is_consistent(rooms):
    found, report = score(answered(rooms), *METRICS)
    assert found['normal_depth/median'] < 0.01
    assert found['normal_depth/mean'] < 3.5
    assert found['boundary_semseg/edges_found'] == 1
    assert found['boundary_semseg/boundaries_used'] > 0.9
    assert found['views/depth_rel'] < 1e-3
    assert found['views/depth_same'] == 1
    assert found['views/semseg_same'] > 0.999
    assert 0.6 < found['views/compared'] < 0.95
    assert 'tolerance 0.0075' in report['details']['boundary_semseg/agreement']['protocol']
    assert not report['headlines']


def test_inconsistent_predictions_score_by_how_much_they_are(rooms):
    def change(key, value, view):
        if key == 'depth':
            return value * (1.1 if view else 1.0)
        if key == 'semseg':
            return (value + view) % 13
        if key == 'normal':
            tilt = np.radians(20)
            x, y, z = value
            return torch.stack(
                [x, np.cos(tilt) * y - np.sin(tilt) * z, np.sin(tilt) * y + np.cos(tilt) * z]
            )
        return torch.zeros_like(value)

    found, _ = score(answered(rooms, change), *METRICS)
    # Each point is 1 / 1.1 of the other view's depth, or 1.1 of it.
    assert found['views/depth_rel'] == pytest.approx((0.1 / 1.1 + 0.1) / 2, abs=0.01)
    assert found['views/depth_same'] < 0.05
    assert found['views/semseg_same'] < 0.05
    # A common factor of all depths leaves normals alone; the tilt is about the x axis.
    assert 10 < found['normal_depth/median'] < 20.5
    assert found['boundary_semseg/edges_found'] == 0
    assert np.isnan(found['boundary_semseg/boundaries_used'])


def test_agreement_within_the_tolerance_alone(rooms):
    labels = torch.zeros(1, 30, 40, dtype=torch.int64)
    labels[:, :, 20:] = 1
    for shift, expected in ((0, 1.0), (2, 1.0), (3, 0.0)):
        boundary = torch.zeros(1, 30, 40)
        boundary[:, :, 19 + shift] = 0.5
        sample = DenseDataSample(metainfo=dict(img_path='a'))
        sample.set_pred(TASKS['semseg'], labels)
        sample.set_pred(TASKS['boundary'], boundary)
        # The diagonal is 50 pixels: a tolerance of 2.
        found, _ = score([sample], dict(type='BoundarySegmentationAgreement', max_dist=0.04))
        assert found['boundary_semseg/agreement'] == expected


def test_a_view_without_its_counterpart_is_left_out(rooms):
    samples = answered(rooms)
    pairs, _ = score(samples, METRICS[2])
    alone, _ = score(samples[:5], METRICS[2])
    four, _ = score(samples[:4], METRICS[2])
    assert alone == four
    assert pairs != four
    nothing, _ = score(samples[:1], METRICS[2])
    assert all(np.isnan(value) for value in nothing.values())


def test_order_of_the_views_does_not_matter(rooms):
    samples = answered(rooms)
    assert score(samples, METRICS[2])[0] == score(samples[::-1], METRICS[2])[0]


def test_what_is_missing_is_named(rooms):
    with pytest.raises(KeyError, match="compares the tasks depth, normal; `tasks` has no 'normal'"):
        NormalDepthConsistencyMetric(dict(depth=CONFIG['depth']))
    with pytest.raises(KeyError, match="has no 'semseg'"):
        BoundarySegmentationAgreement(dict(boundary=CONFIG['boundary']))
    with pytest.raises(ValueError, match="kind is 'disparity_px'"):
        ViewConsistencyMetric(dict(depth=dict(type='Depth', kind='disparity_px', min_depth=0)))
    (sample, *_) = answered(rooms)
    camera = sample.metainfo['intrinsics']
    del sample.intrinsics
    with pytest.raises(KeyError, match='has no `intrinsics`'):
        score([sample], METRICS[0])
    with pytest.raises(KeyError, match='but no intrinsics'):
        score([sample], METRICS[2])
    sample.set_metainfo(dict(intrinsics=camera))
    sample.pred_depth_map.data[0, 0, 0] = float('nan')
    with pytest.raises(DataError, match="task 'depth': the prediction for rooms-0-val-000000-0"):
        score([sample], METRICS[0])
