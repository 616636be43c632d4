import cv2
import numpy as np
import pytest
import torch

from mmdense.structures import DenseDataSample
from mmdense.visualization import DenseLocalVisualizer, save_picture
from mmdense.visualization.panels import GAP, HEADER, heat_tile, tile_grid

TASKS = dict(
    semseg=dict(type='SemSeg', num_classes=3, classes=('bed', 'floor', 'wall')),
    depth=dict(type='Depth'),
    normal=dict(type='Normal'),
    saliency=dict(type='Saliency'),
)


@pytest.fixture
def visualizer():
    return DenseLocalVisualizer(tasks=TASKS, tile_height=20)


def filled_sample(visualizer, size=(20, 30), lacking=()):
    sample = DenseDataSample()
    for key, task in visualizer.tasks.items():
        maps = torch.rand(task.gt_channels, *size) + 0.5
        if task.dtype is np.uint8:
            maps = maps.to(torch.uint8)
        sample.set_pred(task, maps)
        if key not in lacking:
            sample.set_gt(task, maps)
    return sample


def test_row_shows_truth_and_prediction_of_every_task(visualizer):
    image = np.full((20, 30, 3), 7, np.uint8)
    row = visualizer.row(image, filled_sample(visualizer))
    assert len(row) == len(visualizer.titles()) == 1 + 2 * len(TASKS)
    assert np.array_equal(row[0], image)
    # Truth and prediction are the same arrays, so they must look the same.
    for truth, pred in zip(row[1::2], row[2::2]):
        assert np.array_equal(truth, pred) and truth.any()


def test_missing_truth_is_a_black_tile(visualizer):
    row = visualizer.row(
        np.zeros((20, 30, 3), np.uint8), filled_sample(visualizer, lacking=('depth',))
    )
    depth = 1 + 2 * list(TASKS).index('depth')
    assert not row[depth].any() and row[depth + 1].any()


def test_truth_and_prediction_of_depth_share_one_scale(visualizer):
    task = visualizer.tasks['depth']
    truth = np.linspace(1, 5, 50, dtype=np.float32).reshape(5, 10)
    shown = task.colorize(truth, truth)
    assert np.array_equal(task.colorize(truth[:, :3], truth), shown[:, :3])
    assert not np.array_equal(task.colorize(truth[:, :3]), shown[:, :3])


def test_panel_keeps_tiles_where_the_grid_says(visualizer):
    tiles = [[np.full((4, 6, 3), 10 * r + c, np.uint8) for c in range(2)] for r in range(3)]
    grid = tile_grid(tiles, ['a', 'b'])
    assert grid.shape == (HEADER + 3 * (4 + GAP) - GAP, 2 * (6 + GAP) - GAP, 3)
    for r in range(3):
        for c in range(2):
            assert (grid[HEADER + r * (4 + GAP) + 1, c * (6 + GAP) + 1] == 10 * r + c).all()


def test_small_pictures_are_enlarged_and_large_ones_kept():
    visualizer = DenseLocalVisualizer(tasks=TASKS, tile_height=40)
    assert visualizer.row(np.zeros((20, 30, 3), np.uint8), DenseDataSample())[1].shape == (
        40,
        60,
        3,
    )
    assert visualizer.row(np.zeros((50, 30, 3), np.uint8), DenseDataSample())[1].shape == (
        50,
        30,
        3,
    )


def test_heat_is_stretched_to_the_maximum():
    image, share = np.zeros((8, 8, 3), np.uint8), np.linspace(0, 0.2, 64).reshape(8, 8)
    assert np.array_equal(heat_tile(image, share), heat_tile(image, 2 * share))


def test_captions_say_what_a_cluster_stands_for(visualizer):
    semseg, depth, normal, _ = visualizer.tasks.values()
    assert semseg.describe(np.asarray([0, 1, 0])) == 'floor'
    assert semseg.describe(np.asarray([0, 0.1, 0, 0.9])) == 'void'
    assert depth.describe(np.asarray([2.345])) == '2.35 m'
    assert normal.describe(np.asarray([0, 1, 0])) == '0.00 1.00 0.00'
    panel = visualizer.cluster_panel(
        np.zeros((20, 30, 3), np.uint8), np.random.rand(7, 5, 8), [str(k) for k in range(7)]
    )
    assert panel.shape[0] == 2 * (20 + HEADER + GAP) - GAP


def test_saved_picture_reads_back_in_rgb(tmp_path):
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[..., 0] = 200
    save_picture(tmp_path / 'a' / 'p.png', picture)
    assert (cv2.imread(str(tmp_path / 'a' / 'p.png'))[..., 2] == 200).all()


def test_one_sample_goes_to_a_file_without_ground_truth(visualizer, tmp_path):
    sample = filled_sample(visualizer)
    image = np.zeros((20, 30, 3), np.uint8)
    visualizer.add_datasample('x', image, sample, draw_gt=False, out_file=tmp_path / 'x.png')
    drawn = cv2.imread(str(tmp_path / 'x.png'))
    width = 30 + GAP
    assert not drawn[HEADER:, width : width + 30].any()
    assert drawn[HEADER:, 2 * width : 2 * width + 30].any()
    assert sample.gt(visualizer.tasks['depth']) is not None
