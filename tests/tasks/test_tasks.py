import numpy as np
import pytest
import torch

from mmdense.tasks import Boundary, Depth, Normal, Part, Saliency, SemSeg, build_tasks
from mmdense.utils import DataError

rng = np.random.default_rng(0)


def make_gt(task, size=(6, 5)):
    """A valid ground-truth array with one unknown pixel at the corner."""
    if task.key in ('semseg', 'part'):
        gt = rng.integers(0, task.num_classes, size).astype(np.uint8)
    elif task.key == 'depth':
        gt = rng.uniform(0.5, 9, size).astype(np.float32)
    elif task.key == 'normal':
        gt = rng.normal(size=(*size, 3)).astype(np.float32)
        gt /= np.linalg.norm(gt, axis=-1, keepdims=True)
    else:
        gt = rng.integers(0, 2, size).astype(np.uint8)
    gt[0, 0] = task.ignore_value
    return gt


ALL = [SemSeg(num_classes=13), Depth(), Normal(), Boundary(), Saliency(), Part()]


@pytest.mark.parametrize('task', ALL, ids=lambda t: t.key)
def test_numpy_and_torch_agree_on_what_is_known(task):
    gt = make_gt(task)
    valid = task.valid(gt)
    assert not valid[0, 0]
    assert valid.sum() == valid.size - 1
    mask = task.valid_mask(task.to_tensor(gt)[None])
    assert mask.shape == (1, 1, 6, 5)
    assert (mask[0, 0].numpy() == valid).all()


@pytest.mark.parametrize('task', ALL, ids=lambda t: t.key)
def test_empty_map_is_unknown_everywhere_and_passes_the_check(task):
    empty = task.empty((4, 3))
    assert not task.valid(task.check(empty, 'here')).any()
    assert not task.valid_mask(task.to_tensor(empty)[None]).any()


@pytest.mark.parametrize('task', ALL, ids=lambda t: t.key)
def test_two_flips_are_the_identity_and_one_moves_columns(task):
    gt = make_gt(task)
    flipped = task.flip(gt)
    assert np.array_equal(task.flip(flipped), gt)
    if task.key == 'normal':
        assert np.array_equal(flipped[..., 0], -gt[:, ::-1, 0])
        assert np.array_equal(flipped[..., 1:], gt[:, ::-1, 1:])
    else:
        assert np.array_equal(flipped, gt[:, ::-1])


@pytest.mark.parametrize('task', ALL, ids=lambda t: t.key)
def test_decoded_prediction_is_laid_out_as_the_ground_truth(task):
    logits = torch.randn(2, task.num_channels, 6, 5)
    decoded = task.decode(task.activate(logits))
    assert decoded.shape == (2, task.gt_channels, 6, 5)
    picture = task.colorize(
        decoded[0, 0].numpy() if task.gt_channels == 1 else decoded[0].permute(1, 2, 0).numpy()
    )
    assert picture.shape == (6, 5, 3)
    assert picture.dtype == np.uint8


@pytest.mark.parametrize('task', ALL, ids=lambda t: t.key)
def test_headline_is_a_metric_with_the_direction_of_the_task(task):
    from mmdense.registry import METRICS

    metrics = [METRICS.build(cfg, default_args=dict(task=task)) for cfg in task.metrics]
    directions = {k: v for m in metrics for k, v in m.higher_is_better.items()}
    assert directions[task.headline] == task.higher_is_better


def test_zoom_divides_depth_and_leaves_normals():
    depth, normal = Depth(), Normal()
    gt = make_gt(depth)
    assert np.allclose(depth.zoom(gt, 2.0), gt / 2)
    assert depth.zoom(gt, 2.0)[0, 0] == 0
    gt = make_gt(normal)
    assert normal.zoom(gt, 2.0) is gt


def test_quarter_turn_of_normals_is_counter_clockwise():
    gt = np.zeros((1, 1, 3), np.float32)
    gt[..., 0] = 1  # points right; after a counter-clockwise quarter turn it points up
    assert np.allclose(Normal().rotate(gt, np.pi / 2)[0, 0], (0, 1, 0), atol=1e-6)


def test_depth_is_invalid_outside_its_range_and_where_it_is_nan():
    task = Depth(min_depth=1, max_depth=5)
    gt = np.asarray([[0, 1, 3, 5, np.nan, np.inf]], np.float32)
    assert task.valid(gt).tolist() == [[False, False, True, False, False, False]]
    assert task.valid_mask(torch.from_numpy(gt)[None, None]).tolist()[0][0] == [
        [False, False, True, False, False, False]
    ]


@pytest.mark.parametrize(('low', 'high'), [(5, 5), (10, 1), (-1, 3)])
def test_empty_depth_range_names_both_ends(low, high):
    with pytest.raises(ValueError, match=rf'min_depth={low}, max_depth={high}'):
        Depth(min_depth=low, max_depth=high)


def test_depth_activations_stay_positive_or_inside():
    logits = torch.linspace(-20, 20, 9).reshape(1, 1, 3, 3)
    assert (Depth().activate(logits) > 0).all()
    inside = Depth(min_depth=1, max_depth=5, activation='sigmoid').activate(logits)
    assert inside.min() >= 1
    assert inside.max() <= 5


@pytest.mark.parametrize('activation', ['softplus', 'sigmoid', 'identity'])
def test_untrained_depth_head_predicts_the_initial_depth(activation):
    task = Depth(activation=activation, initial_depth=2.5)
    assert task.activate(torch.tensor(task.initial_bias)).item() == pytest.approx(2.5, rel=1e-5)
    with pytest.raises(ValueError, match='initial_depth is 12'):
        Depth(initial_depth=12)


def test_labels_out_of_range_are_named():
    gt = np.asarray([[0, 14], [200, 255]], np.uint8)
    with pytest.raises(DataError, match=r'0001.png.*\[14, 200\].*0..12 and 255'):
        SemSeg(num_classes=13).check(gt, '0001.png')


def test_wrong_shape_is_named():
    with pytest.raises(DataError, match=r'\(4, 4\), expected \(H, W, 3\)'):
        Normal().check(np.zeros((4, 4), np.float32), 'a.png')


def test_nan_depth_is_refused():
    with pytest.raises(DataError, match='NaN'):
        Depth().check(np.asarray([[np.nan, 1]], np.float32), 'a.png')


def test_aliases_are_mapped_and_doubles_refused():
    tasks = build_tasks(dict(edge=dict(type='Boundary'), normals=dict(type='Normal')))
    assert list(tasks) == ['boundary', 'normal']
    with pytest.raises(ValueError, match="'boundary' twice"):
        build_tasks(dict(edge=dict(type='Boundary'), boundary=dict(type='Boundary')))
    with pytest.raises(KeyError, match="name is 'depth'"):
        build_tasks(dict(depht=dict(type='Depth')))
    with pytest.raises(ValueError, match='empty'):
        build_tasks({})


def test_wrong_number_of_class_names_is_refused():
    with pytest.raises(ValueError, match='2 entries for num_classes=3'):
        SemSeg(num_classes=3, classes=('a', 'b'))


def test_renormalised_normals_have_unit_length_where_valid():
    task = Normal()
    gt = make_gt(task) * 0.3
    valid = task.valid(gt)
    out = task.renormalize(gt, valid)
    assert np.allclose(np.linalg.norm(out[valid], axis=-1), 1, atol=1e-6)
    assert (out[~valid] == 0).all()


@pytest.mark.parametrize(
    ('kind', 'unknown', 'zoomed'),
    [('metric', 0.0, 2.0), ('disparity_px', -1.0, 8.0), ('inverse_norm', 0.0, 8.0)],
)
def test_kinds_of_depth(kind, unknown, zoomed):
    task = Depth(min_depth=0, max_depth=100, kind=kind)
    gt = np.array([[4, unknown, 0]], np.float32)
    assert task.zoom(gt, 2).tolist() == [[zoomed, unknown, 0]]
    known = [True, False, kind == 'disparity_px']
    assert task.valid(gt).tolist() == [known]
    assert task.valid_mask(torch.from_numpy(gt)).tolist() == [known]
    assert not task.valid(task.empty((2, 3))).any()
    assert task.check(gt, 'here') is gt
    with pytest.raises(DataError, match=r'here.*negative'):
        task.check(np.array([[-2]], np.float32), 'here')


def test_results_carry_the_kind_of_depth():
    assert Depth().prefix == 'depth'
    assert Depth(0, 1, kind='inverse_norm').prefix == 'depth_inverse_norm'
    with pytest.raises(ValueError, match=r"'dispariti_px'.*Did you mean 'disparity_px'"):
        Depth(kind='dispariti_px')
