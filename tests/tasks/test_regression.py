import numpy as np
import pytest
import torch

from mmdense.evaluation import RegressionMetric
from mmdense.registry import METRICS, MODELS
from mmdense.tasks import (
    EdgeOcclusion,
    EdgeTexture,
    Keypoints2D,
    Keypoints3D,
    PrincipalCurvature,
    Reshading,
    build_tasks,
)
from mmdense.utils import DataError

ALL = [EdgeTexture, EdgeOcclusion, Keypoints2D, Keypoints3D, Reshading, PrincipalCurvature]
rng = np.random.default_rng(0)


def make_gt(task, size=(6, 5)):
    shape = size if task.gt_channels == 1 else (*size, task.gt_channels)
    gt = rng.uniform(task.low, task.high, shape).astype(np.float32)
    gt[0, 0] = task.ignore_value
    return gt


@pytest.mark.parametrize('kind', ALL)
def test_a_regression_task_keeps_the_promises_of_a_task(kind):
    task = kind()
    gt = make_gt(task)
    assert task.check(gt, 'a.png') is gt
    valid = task.valid(gt)
    assert valid.shape == (6, 5) and not valid[0, 0] and valid.sum() == 29
    mask = task.valid_mask(task.to_tensor(gt)[None])
    assert mask.shape == (1, 1, 6, 5) and np.array_equal(mask[0, 0].numpy(), valid)
    assert not task.valid(task.check(task.empty((4, 3)), 'a.png')).any()
    assert np.array_equal(task.flip(gt), gt[:, ::-1])
    assert task.zoom(gt, 2.0) is gt and task.rotate(gt, 1.0) is gt and task.after_geometry(gt) is gt
    logits = 3 * torch.randn(2, task.num_channels, 6, 5)
    decoded = task.decode(task.activate(logits))
    assert decoded.shape == (2, task.gt_channels, 6, 5)
    assert decoded.min() >= task.low and decoded.max() <= task.high
    picture = task.colorize(gt)
    assert picture.shape == (6, 5, 3) and picture.dtype == np.uint8
    assert (picture[0, 0] == 0).all()


@pytest.mark.parametrize('kind', ALL)
def test_loss_and_metric_read_the_valid_pixels_only(kind):
    task = kind()
    gt = make_gt(task)
    gt[1] = task.ignore_value
    target = task.to_tensor(gt)[None]
    pred = target + 0.25
    loss = MODELS.build(task.losses[0])(pred, target, task.valid_mask(target))
    assert loss.item() == pytest.approx(0.25 * task.gt_channels, rel=1e-5)
    metric = METRICS.build(task.metrics[0], default_args=dict(task=task))
    scores = metric.score([(gt + np.float32(0.25), gt)])
    assert scores['mae'] == pytest.approx(0.25, rel=1e-5)
    assert task.headline in metric.higher_is_better


def test_scores_are_pooled_over_pixels():
    gt, flat = np.zeros((2, 2), np.float32), np.zeros((4, 4), np.float32)
    flat[0] = -1
    pairs = [(gt + 0.5, gt), (flat * 0, flat)]
    scores = RegressionMetric().score(pairs)
    # 4 pixels with an error of 0.5 and 12 with none.
    assert scores['mae'] == pytest.approx(0.5 * 4 / 16)
    assert scores['rmse'] == pytest.approx(np.sqrt(0.25 * 4 / 16))
    assert np.isnan(RegressionMetric().score([(gt, gt - 1)])['mae'])


@pytest.mark.parametrize('kind', [Keypoints2D, PrincipalCurvature])
def test_no_constant_beats_the_best_constant(kind):
    task = kind()
    maps = [make_gt(task) for _ in range(3)]
    metric = RegressionMetric(task=task)

    def score(constant):
        return metric.score([(np.broadcast_to(constant, gt.shape), gt) for gt in maps])['mae']

    best = task.best_constant(maps)
    assert best.shape == (task.gt_channels,)
    best_score = score(best if task.gt_channels > 1 else best[0])
    for _ in range(20):
        other = best + rng.normal(0, 0.2, best.shape)
        assert score(other if task.gt_channels > 1 else other[0]) >= best_score - 1e-9


def test_values_outside_the_range_are_named():
    with pytest.raises(DataError, match=r"a.png: .*'keypoints2d' holds \[1.5\].*0 to 1 and -1"):
        Keypoints2D().check(np.array([[1.5, 0.5, -1]], np.float32), 'a.png')
    with pytest.raises(DataError, match=r'holds \[nan\]'):
        Reshading().check(np.array([[np.nan]], np.float32), 'a.png')
    with pytest.raises(DataError, match=r'holds \[-1.5.*-1 to 1 and -2'):
        PrincipalCurvature().check(np.full((1, 1, 2), -1.5, np.float32), 'a.png')


def test_aliases_reach_the_keys():
    tasks = build_tasks(
        dict(curvature=dict(type='PrincipalCurvature'), edge2d=dict(type='EdgeTexture'))
    )
    assert list(tasks) == ['principal_curvature', 'edge_texture']
