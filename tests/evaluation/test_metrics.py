import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from mmdense.evaluation import (
    BinaryFMetric,
    DepthMetric,
    MultiTaskEvaluator,
    NormalMetric,
    SegMetric,
    results_table,
    score_constants,
)
from mmdense.structures import DenseDataSample
from mmdense.tasks import build_tasks
from mmdense.utils import ShapeError

rng = np.random.default_rng(0)


def test_seg_metric_equals_set_arithmetic():
    gt = rng.integers(0, 4, (3, 9, 7)).astype(np.uint8)
    gt[0, :2] = 255
    pred = rng.integers(0, 4, (3, 9, 7))
    ious = []
    for c in range(4):
        seen = gt != 255
        inter = ((gt == c) & (pred == c)).sum()
        union = (((gt == c) | (pred == c)) & seen).sum()
        ious.append(inter / union)
    scores = SegMetric(num_classes=4).score(list(zip(pred, gt)))
    assert scores['mIoU'] == pytest.approx(np.mean(ious))
    assert scores['pixAcc'] == pytest.approx((pred == gt)[gt != 255].mean())


@pytest.mark.parametrize(('absent', 'expected'), [('skip', 1.0), ('zero', 0.5)])
def test_seg_metric_absent_class_rule(absent, expected):
    gt = np.zeros((4, 4), np.uint8)
    gt[2:] = 1
    scores = SegMetric(num_classes=4, absent=absent).score([(gt, gt)])
    assert scores['mIoU'] == pytest.approx(expected)


def test_predicted_but_unlabelled_class_has_iou_zero():
    gt, pred = np.zeros((2, 2), np.uint8), np.asarray([[0, 0], [0, 3]])
    assert SegMetric(num_classes=4).score([(pred, gt)])['mIoU'] == pytest.approx((0.75 + 0) / 2)


def test_per_class_numbers_are_named_and_printed_in_percent():
    tasks = dict(semseg=dict(type='SemSeg', num_classes=2, classes=('bed', 'wall')))
    metrics = [dict(type='SegMetric', num_classes=2, classes=('bed', 'wall'), per_class=True)]
    evaluator = MultiTaskEvaluator(tasks=tasks, metrics=dict(semseg=metrics))
    gt = np.asarray([[0, 1], [1, 1]], np.uint8)
    built = build_tasks(tasks)
    evaluator.process([_sample(built, dict(semseg=gt), dict(semseg=gt))])
    assert evaluator.evaluate(1)['semseg/IoU.bed'] == 1
    assert '100.00 %' in results_table(evaluator.report)


@pytest.fixture
def depths():
    gt = rng.uniform(0.5, 9.5, (3, 8, 6)).astype(np.float32)
    gt[0, :3] = 0
    pred = (gt * rng.uniform(0.7, 1.4, gt.shape) + 0.01).astype(np.float32)
    return pred, gt


def test_depth_metric_pooled(depths):
    pred, gt = depths
    d, g = (x[gt > 0].astype(np.float64) for x in (pred, gt))
    scores = DepthMetric().score(list(zip(pred, gt)))
    e = np.log(d) - np.log(g)
    assert scores['rmse'] == pytest.approx(np.sqrt(((d - g) ** 2).mean()))
    assert scores['rmse_log'] == pytest.approx(np.sqrt((e**2).mean()))
    assert scores['abs_rel'] == pytest.approx((abs(d - g) / g).mean())
    assert scores['sq_rel'] == pytest.approx(((d - g) ** 2 / g).mean())
    assert scores['log10'] == pytest.approx(abs(np.log10(d) - np.log10(g)).mean())
    assert scores['silog_pooled'] == pytest.approx(100 * e.std())
    each = [
        np.log(p[g > 0].astype(float)) - np.log(g[g > 0].astype(float)) for p, g in zip(*depths)
    ]
    assert scores['silog'] == pytest.approx(100 * np.mean([x.std() for x in each]))
    assert scores['d2'] == pytest.approx((np.maximum(d / g, g / d) < 1.25**2).mean())


def test_depth_metric_per_picture_averages_pictures(depths):
    pred, gt = depths
    expected = np.mean(
        [np.sqrt(((p - g)[g > 0].astype(np.float64) ** 2).mean()) for p, g in zip(pred, gt)]
    )
    assert DepthMetric(average='image').score(list(zip(pred, gt)))['rmse'] == pytest.approx(
        expected
    )


def test_eigen_crop_ignores_the_border():
    gt = np.full((480, 640), 2.0, np.float32)
    pred = np.full_like(gt, 7.0)
    pred[45:471, 41:601] = 3.0
    metric = DepthMetric(crop='eigen')
    assert metric.score([(pred, gt)])['rmse'] == pytest.approx(1.0)
    assert 'Eigen' in metric.protocol


def test_depth_metric_refuses_an_empty_range():
    with pytest.raises(ValueError, match='min_depth=5, max_depth=5'):
        DepthMetric(min_depth=5, max_depth=5)


def test_normal_metric_against_arccos():
    gt = rng.normal(size=(2, 9, 8, 3))
    gt /= np.linalg.norm(gt, axis=-1, keepdims=True)
    gt[0, 0] = 0
    pred = gt + 0.3 * rng.normal(size=gt.shape)
    valid = (gt != 0).any(-1)
    unit = pred / np.linalg.norm(pred, axis=-1, keepdims=True)
    angle = np.degrees(np.arccos((unit * gt).sum(-1)[valid].clip(-1, 1)))
    scores = NormalMetric().score(list(zip(pred, gt)))
    assert scores['mean'] == pytest.approx(angle.mean(), abs=1e-6)
    assert scores['rmse'] == pytest.approx(np.sqrt((angle**2).mean()), abs=1e-6)
    assert scores['median'] == pytest.approx(np.median(angle), abs=5.1e-3)
    assert scores['22.5'] == pytest.approx((angle < 22.5).mean())


def test_zero_normal_prediction_is_90_degrees_off():
    gt = np.zeros((2, 2, 3))
    gt[..., 2] = 1
    assert NormalMetric().score([(np.zeros_like(gt), gt)])['mean'] == pytest.approx(90)


def test_binary_f_metric_against_brute_force():
    gt = (rng.random((3, 10, 10)) < 0.3).astype(np.uint8)
    gt[1, :2] = 255
    pred = rng.random((3, 10, 10)) * 0.6 + 0.3 * (gt == 1)
    best = 0.0
    for t in [k / 20 for k in range(1, 20)]:
        on, seen = pred >= t, gt != 255
        tp, p, n = (on & (gt == 1)).sum(), (on & seen).sum(), (gt == 1).sum()
        if tp:
            precision, recall = tp / p, tp / n
            best = max(best, 1.3 * precision * recall / (0.3 * precision + recall))
    assert BinaryFMetric(beta2=0.3).score(list(zip(pred, gt)))['maxF'] == pytest.approx(best)


def _sample(tasks, preds, gts):
    sample = DenseDataSample(metainfo=dict(img_path='a.png'))
    for key, task in tasks.items():
        if key in preds:
            sample.set_pred(task, task.to_tensor(preds[key]))
        if key in gts:
            sample.set_gt(task, task.to_tensor(gts[key]))
    return sample


def _batchings(samples):
    yield [samples]
    yield [[s] for s in samples]
    yield [samples[:2], samples[2:]]


def test_every_batching_gives_bit_equal_numbers_and_partial_labels_are_skipped():
    config = dict(depth=dict(type='Depth'), normal=dict(type='Normal'))
    tasks = build_tasks(config)
    samples = []
    for index in range(5):
        gts = dict(
            depth=rng.uniform(1, 9, (6, 5)).astype(np.float32),
            normal=rng.normal(size=(6, 5, 3)).astype(np.float32),
        )
        preds = {k: v + rng.normal(size=v.shape).astype(np.float32) for k, v in gts.items()}
        if index == 3:
            del gts['depth']
        samples.append(_sample(tasks, preds, gts))
    results = []
    for batches in _batchings(samples):
        evaluator = MultiTaskEvaluator(tasks=config, metrics=None)
        for batch in batches:
            evaluator.process(batch)
        results.append(evaluator.evaluate(5))
    assert results[0] == results[1] == results[2]
    table = results_table(evaluator.report)
    assert 'pooled over pixels' in table
    assert 'rmse *' in table
    percent = {name for name, detail in evaluator.report['details'].items() if detail['percent']}
    assert percent == {f'depth/d{k}' for k in (1, 2, 3)} | {
        f'normal/{t}' for t in ('11.25', '22.5', '30')
    }


def test_task_without_any_label_reports_nan_not_an_error():
    config = dict(depth=dict(type='Depth'))
    evaluator = MultiTaskEvaluator(tasks=config, metrics=None)
    evaluator.process([_sample(build_tasks(config), dict(depth=np.ones((2, 2), np.float32)), {})])
    assert np.isnan(evaluator.evaluate(1)['depth/rmse'])


def test_size_mismatch_names_both_shapes_and_the_file():
    config = dict(depth=dict(type='Depth'))
    evaluator = MultiTaskEvaluator(tasks=config, metrics=None)
    sample = DenseDataSample(metainfo=dict(img_path='b.png'))
    sample.gt_depth_map = PixelData(data=torch.ones(1, 4, 4))
    sample.pred_depth_map = PixelData(data=torch.ones(1, 8, 8))
    with pytest.raises(ShapeError, match=r'\(8, 8\).*\(4, 4\).*b.png'):
        evaluator.process([sample])


def test_unknown_task_in_metrics_is_named():
    with pytest.raises(KeyError, match="Did you mean 'depth'"):
        MultiTaskEvaluator(tasks=dict(depth=dict(type='Depth')), metrics=dict(dept=[]))


def test_best_constant_beats_its_neighbours():
    tasks = build_tasks(dict(depth=dict(type='Depth'), normal=dict(type='Normal')))
    gts = []
    for _ in range(4):
        normal = rng.normal(size=(8, 8, 3)) + np.asarray([0, 0.5, 1])
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        gts.append(dict(depth=rng.uniform(1, 6, (8, 8)).astype(np.float32), normal=normal))
    scores = score_constants(tasks, gts)
    depth = np.concatenate([g['depth'].ravel() for g in gts]).astype(np.float64)
    assert scores['depth/rmse'] == pytest.approx(depth.std(), rel=1e-5)
    best = tasks['normal'].best_constant([g['normal'] for g in gts])
    for _ in range(20):
        other = best + 0.1 * rng.normal(size=3)
        pairs = [(np.broadcast_to(other, (8, 8, 3)), g['normal']) for g in gts]
        assert NormalMetric().score(pairs)['mean'] >= scores['normal/mean'] - 1e-3
