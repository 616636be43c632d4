"""Maps as people hand them over: arrays and tensors, samples of every form, mistakes."""

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

import mmdense.evaluation
from mmdense.evaluation import (
    BinaryFMetric,
    BoundaryMetric,
    DepthMetric,
    EdgeLossMetric,
    MultiTaskEvaluator,
    NormalMetric,
    RegressionMetric,
    SegMetric,
    angular_error,
    count_matches,
    depth_sums,
    f_measure,
    gt_boundaries,
    normals_to_uint8,
    quantize,
    suppress_non_maxima,
)
from mmdense.evaluation.boundary import BoundaryProtocol
from mmdense.structures import DenseDataSample
from mmdense.utils import DataError, ShapeError

SIZE = (7, 9)
rng = np.random.default_rng(0)


def labels():
    return rng.integers(0, 4, SIZE).astype(np.uint8)


def probability():
    return rng.random(SIZE).astype(np.float32)


def edges():
    return (rng.random(SIZE) < 0.3).astype(np.uint8)


def depths():
    return rng.uniform(1, 9, SIZE).astype(np.float32)


def vectors():
    return rng.normal(size=(*SIZE, 3)).astype(np.float32)


#: Metric, prediction (H, W) or (H, W, 3), ground truth.
CASES = dict(
    seg=(lambda: SegMetric(num_classes=4), labels(), labels()),
    depth=(DepthMetric, depths(), depths()),
    normal=(NormalMetric, vectors(), vectors()),
    saliency=(BinaryFMetric, probability(), edges()),
    edge_loss=(EdgeLossMetric, probability(), edges()),
    boundary=(BoundaryMetric, probability(), edges()),
    regression=(RegressionMetric, probability(), probability()),
)


def chw(array):
    return array.transpose(2, 0, 1) if array.ndim == 3 else array[None]


def tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array))


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def test_score_takes_arrays_and_tensors_in_both_layouts(case):
    make, pred, gt = case
    expected = make().score([(pred, gt)])
    forms = [
        (chw(pred), chw(gt)),
        (tensor(pred), tensor(gt)),
        (tensor(chw(pred)), tensor(chw(gt))),
        (tensor(chw(pred)).requires_grad_(pred.dtype == np.float32), gt),
    ]
    for form in forms:
        assert make().score([form]) == expected
    assert make().score(iter([(pred, gt)])) == expected
    assert all(type(value) is float for value in expected.values())


def test_process_takes_samples_of_every_form(case):
    make, pred, gt = case
    metric = make()
    sample = DenseDataSample()
    sample.set_gt(metric.task, tensor(chw(gt)))
    sample.set_pred(metric.task, tensor(chw(pred)))
    names = f'pred_{metric.task.field}', f'gt_{metric.task.field}'
    pair = tensor(chw(pred)), tensor(chw(gt))
    forms = [
        sample,
        sample.to_dict(),
        dict(zip(names, pair)),
        dict(zip(names, (pred, gt))),
        {f'pred_{metric.task.key}': pred, f'gt_{metric.task.key}': gt},
        dict(zip(names, (dict(data=pred), dict(data=gt)))),
        dict(zip(names, (PixelData(data=x) for x in pair))),
    ]
    expected = {f'{metric.prefix}/{k}': v for k, v in make().score([(pred, gt)]).items()}
    for form in forms:
        metric.process(None, [form])
        assert metric.evaluate(1) == expected


def test_evaluator_takes_plain_samples():
    _, pred, gt = CASES['normal']
    evaluator = MultiTaskEvaluator(tasks=dict(normal=dict(type='Normal')))
    evaluator.process([dict(pred_normal=pred, gt_normal=gt), dict(pred_normal=pred)])
    expected = NormalMetric().score([(pred, gt)])['mean']
    assert evaluator.evaluate(2)['normal/mean'] == expected
    assert evaluator.report['resolution'] == {'7x9': 1}
    assert evaluator.report['labelled'] == dict(normal=1)


def test_labelled_picture_without_a_prediction_is_an_error(case):
    make, pred, gt = case
    metric = make()
    sample = {f'gt_{metric.task.field}': gt, 'img_path': 'a/7.png', 'pred_other': pred}
    with pytest.raises(DataError, match=r'a/7.png has ground truth .*found: pred_other'):
        metric.process(None, [sample])


def test_nothing_to_score_is_nan(case):
    metric = case[0]()
    assert all(np.isnan(value) for value in metric.score([]).values())
    metric.process(None, [dict(), dict()])
    assert all(np.isnan(value) for value in metric.evaluate(2).values())


def test_maps_of_another_shape_are_one_clear_error(case):
    make, pred, gt = case
    with pytest.raises(ShapeError, match=r'prediction \(6, 9.*ground truth \(7, 9.*pair 1'):
        make().score([(pred, gt), (pred[:-1], gt)])
    scores = np.zeros((1, 5, *SIZE), np.float32)
    with pytest.raises(ShapeError, match=r'prediction of pair 0 has shape \(1, 5, 7, 9\)'):
        make().score([(scores, gt)])
    with pytest.raises(ShapeError, match='argmax of class scores'):
        make().score([(scores[0], gt)])


def test_bfloat16_predictions_are_read():
    pred, gt = depths(), depths()
    half = tensor(pred).bfloat16()
    assert DepthMetric().score([(half, gt)]) == DepthMetric().score([(half.float(), gt)])


def test_nan_counts_where_the_pixel_counts():
    pred, gt = depths(), depths()
    expected = DepthMetric().score([(pred[1:], gt[1:])])
    pred[0], gt[0] = np.nan, 0
    assert DepthMetric().score([(pred, gt)])['rmse'] == expected['rmse']
    pred[3, 4] = np.inf
    with pytest.raises(DataError, match=r'pair 0 holds NaN or infinite values \(1 of 54\)'):
        DepthMetric().score([(pred, gt)])


def test_what_is_no_decoded_map_is_refused():
    truth = edges()
    for metric in (BinaryFMetric(), EdgeLossMetric(), BoundaryMetric()):
        for bad in (4 * probability() - 2, (255 * probability()).astype(np.uint8)):
            with pytest.raises(DataError, match=r'range over .* 8-bit levels divided by 255'):
                metric.score([(bad, truth)])
    # The published meter takes any number for a logit, and so does this one if asked to.
    assert (
        EdgeLossMetric(logit_of_probability=False).score([(4 * probability(), truth)])['loss'] > 0
    )
    with pytest.raises(DataError, match='argmax of scores'):
        SegMetric(num_classes=2).score([(np.full(SIZE, 0.7), truth)])


def test_rounding_of_a_resize_is_no_error():
    saturated = torch.nn.functional.interpolate(torch.ones(1, 1, 64, 64), (46, 53), mode='bilinear')
    assert saturated.max() > 1
    truth = np.zeros((46, 53), np.uint8)
    for metric in (BinaryFMetric(), BinaryFMetric(quantize='uint8'), BoundaryMetric()):
        ones = metric.score([(np.ones((46, 53), np.float32), truth)])
        assert metric.score([(saturated[0], truth)]) == ones


def test_255_is_unknown_depth_and_unknown_normal_as_in_published_pipelines():
    for metric, value in ((DepthMetric(), depths), (NormalMetric(), vectors)):
        pred, gt = value(), value()
        gt[:2] = 0
        published = gt.copy()
        published[:2] = 255
        assert metric.score([(pred, published)]) == metric.score([(pred, gt)])


def test_functions_that_metrics_are_made_of_are_found_here():
    names = 'thin true_boundaries boundary_scores maximum_matching depth_scores uint8_to_normals'
    for name in names.split():
        assert name in mmdense.evaluation.__all__
    assert all(hasattr(mmdense.evaluation, name) for name in mmdense.evaluation.__all__)


def test_functions_take_tensors_and_whole_maps():
    _, pred, gt = CASES['normal']
    angles = angular_error(tensor(pred), tensor(gt))
    assert angles.shape == SIZE
    assert np.array_equal(angles.ravel(), angular_error(pred.reshape(-1, 3), gt.reshape(-1, 3)))
    far, near = depths(), depths()
    assert np.array_equal(depth_sums(tensor(far), tensor(near)), depth_sums(far, near))
    assert np.array_equal(gt_boundaries(tensor(edges() * 0 + 1)), np.zeros(SIZE, bool))
    levels = quantize(tensor(probability()))
    counts = count_matches(tensor(levels), tensor(edges()) == 1, BoundaryProtocol())
    assert counts.shape == (101, 4)
    assert f_measure(counts.tolist()).shape == (101,)
    assert np.array_equal(normals_to_uint8(tensor(pred)), normals_to_uint8(pred))
    with pytest.raises(ShapeError, match='Move channels to the end'):
        angular_error(chw(pred), chw(gt))


def test_boundary_functions_refuse_other_maps():
    truth, levels = edges().astype(bool), (255 * probability()).astype(np.uint8)
    with pytest.raises(DataError, match=r'float32.*quantize\(probability\) first'):
        count_matches(probability(), truth, BoundaryProtocol())
    with pytest.raises(DataError, match='quantize'):
        suppress_non_maxima(probability())
    with pytest.raises(ShapeError, match=r'\(6, 9\) and truth \(7, 9\)'):
        count_matches(levels[:-1], truth, BoundaryProtocol())
    with pytest.raises(ShapeError, match='Take off the channel'):
        suppress_non_maxima(levels[None])


def test_normals_that_a_network_gave_are_normalised_before_8_bits():
    _, pred, gt = CASES['normal']
    unit = pred / np.linalg.norm(pred, axis=-1, keepdims=True)
    assert np.array_equal(normals_to_uint8(5 * pred), normals_to_uint8(pred))
    assert np.abs(normals_to_uint8(pred).astype(int) - normals_to_uint8(unit)).max() <= 1
    metric = NormalMetric(quantize='uint8')
    assert metric.score([(pred, gt)])['mean'] == pytest.approx(
        metric.score([(unit, gt)])['mean'], abs=0.01
    )
    # A resized map holds vectors shorter than one, which files keep.
    assert normals_to_uint8(np.asarray([[0.5, 0, 0]])).tolist() == [[191, 127, 127]]
