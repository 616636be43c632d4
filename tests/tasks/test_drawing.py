import numpy as np
import pytest

from mmdense.registry import TASKS
from mmdense.tasks import Boundary, Depth, Normal, Saliency, SemSeg, build_tasks
from mmdense.tasks.drawing import class_names, label_edges

TASKS.import_from_location()
ALL = sorted(TASKS.module_dict)


def build(name):
    return TASKS.build(dict(type=name, **(dict(num_classes=4) if name == 'SemSeg' else {})))


def truth_of(task, rng, size=(9, 11)):
    """A plausible ground-truth array with unknown pixels."""
    shape = size if task.gt_channels == 1 else (*size, task.gt_channels)
    if task.dtype is np.uint8:
        gt = rng.integers(0, 2, shape).astype(np.uint8)
    else:
        gt = rng.uniform(0.1, 0.9, shape).astype(np.float32)
    if task.key == 'normal':
        gt /= np.linalg.norm(gt, axis=-1, keepdims=True)
    gt[:2] = task.ignore_value
    return gt


@pytest.mark.parametrize('name', ALL)
def test_every_task_can_be_drawn_with_legend_and_error(name):
    task, rng = build(name), np.random.default_rng(1)
    gt = truth_of(task, rng)
    known = task.valid(gt)
    error = task.error(gt, gt)
    assert error.dtype == np.float32 and np.isnan(error[~known]).all()
    # The angle between a vector and itself is 0 up to the rounding of float32.
    assert error[known] == pytest.approx(0, abs=0.1)
    other = truth_of(task, rng)
    assert task.error(other, gt)[known].max() > 0.1
    assert task.error_limit(gt) > 0 and task.describe_error(0.5)
    assert task.error_limit(gt[known]) == pytest.approx(task.error_limit(gt))
    legend = task.legend([gt], gt)
    if legend is not None:
        colors = task.colorize(legend.values, gt)
        assert colors.shape == (1, legend.values.shape[1], 3) and colors.dtype == np.uint8
        if legend.layout == 'swatches':
            assert len(legend.labels) == legend.values.shape[1]
        else:
            assert len(legend.labels) == 2
    outline = task.outline(gt)
    assert outline is None or (outline.shape == gt.shape[:2] and outline.dtype == bool)


@pytest.mark.parametrize('name', ALL)
def test_nothing_known_can_be_drawn_too(name):
    task = build(name)
    empty = task.empty((4, 5))
    assert np.isnan(task.error(empty, empty)).all()
    assert task.error_limit(empty) > 0
    legend = task.legend([empty], empty)
    if legend is not None and legend.labels:
        assert task.colorize(legend.values, empty).shape[2] == 3
    outline = task.outline(empty)
    assert outline is None or not outline.any()


def test_errors_of_known_pairs():
    semseg, depth, normal = SemSeg(3), Depth(), Normal()
    labels = np.array([[0, 1, 255]], np.uint8)
    wrong = semseg.error(np.array([[0, 2, 1]]), labels)
    assert wrong[0, :2].tolist() == [0, 1] and np.isnan(wrong[0, 2])
    off = depth.error(np.array([[1.5, 9.0]], np.float32), np.array([[2.0, 0.0]], np.float32))
    assert off[0, 0] == 0.5 and np.isnan(off[0, 1])
    angles = np.radians([0, 30, 90, 180])
    turned = np.stack([np.sin(angles), 0 * angles, np.cos(angles)], -1)[None]
    front = np.broadcast_to(np.array([0, 0, 1.0]), turned.shape)
    assert normal.error(turned, front)[0] == pytest.approx([0, 30, 90, 180], abs=1e-3)
    # The length of a prediction does not count.
    assert normal.error(3 * turned, front)[0] == pytest.approx([0, 30, 90, 180], abs=1e-3)


def test_scale_of_depth_errors_depends_on_the_truth_alone():
    truth = np.full((4, 4), 2.0, np.float32)
    truth[0] = 0
    assert Depth().error_limit(truth) == 0.5


def test_legend_of_depth_tells_the_ends_of_the_colours():
    task = Depth(max_depth=200.0)
    truth = np.arange(1, 102, dtype=np.float32)[None]
    legend = task.legend([truth], truth)
    assert legend.labels == ('2.00 m', '100.00 m') and legend.layout == 'scale'
    picture = task.colorize(truth)
    bar = task.colorize(legend.values, truth)[0]
    for value in (2, 30, 77, 100):
        nearest = int(np.abs(legend.values[0] - value).argmin())
        assert np.abs(bar[nearest].astype(int) - picture[0, value - 1]).max() <= 6


def test_the_farthest_depth_is_not_as_black_as_the_unknown():
    picture = Depth().colorize(np.array([[0.0, 1.0, 9.0]], np.float32))
    assert not picture[0, 0].any() and picture[0, 2].sum() > 50


def test_legend_of_classes_lists_what_occurs():
    task = SemSeg(4, classes=('a', 'b', 'c', 'd'))
    truth, pred = np.array([[0, 255]], np.uint8), np.array([[2.0, 2.0]])
    legend = task.legend([truth, pred])
    assert legend.labels == ('a', 'c') and legend.values.tolist() == [[0, 2]]
    assert np.array_equal(task.colorize(legend.values)[0], task.palette[[0, 2]])


def test_background_is_grey_unless_the_config_has_colours():
    named = SemSeg(3, classes=('background', 'a', 'b'))
    assert named.palette[0].tolist() == [64, 64, 64]
    assert np.array_equal(named.palette[1:], SemSeg(3).palette[1:])
    own = SemSeg(2, classes=('background', 'a'), palette=[[1, 2, 3], [4, 5, 6]])
    assert own.palette[0].tolist() == [1, 2, 3]


def test_class_names_of_the_data_set_fill_gaps_only():
    tasks = build_tasks(dict(semseg=dict(type='SemSeg', num_classes=2)))
    meta = dict(classes=('cat', 'dog'), task_classes=dict(part=('x', 'y')))
    assert class_names(meta) == dict(semseg=('cat', 'dog'), part=('x', 'y'))
    tasks['semseg'].name_classes(('cat', 'dog', 'too many'))
    assert tasks['semseg'].classes == ('0', '1')
    tasks['semseg'].name_classes(('cat', 'dog'))
    assert tasks['semseg'].classes == ('cat', 'dog')
    own = SemSeg(2, classes=('a', 'b'))
    own.name_classes(('cat', 'dog'))
    assert own.classes == ('a', 'b')


def test_edges_of_labels_as_by_definition():
    rng = np.random.default_rng(0)
    labels, known = rng.integers(0, 3, (6, 7)), rng.random((6, 7)) < 0.7
    expected = np.zeros((6, 7), bool)
    for y in range(6):
        for x in range(7):
            for ny, nx in ((y + 1, x), (y, x + 1)):
                inside = ny < 6 and nx < 7
                if inside and known[y, x] and known[ny, nx] and labels[y, x] != labels[ny, nx]:
                    expected[y, x] = True
    assert np.array_equal(label_edges(labels, known), expected)


def test_outlines_of_binary_maps():
    wide = np.zeros((9, 9), np.float32)
    wide[:, 3:6] = 0.9
    line = Boundary().outline(wide)
    # The middle of the band; where it ends may be shortened.
    assert line[3:6, 4].all() and (line.sum(1) <= 1).all()
    border = Saliency().outline(wide)
    assert border[:, 2].all() and border[:, 5].all() and border.sum() == 18
    assert Depth().outline(wide) is None
