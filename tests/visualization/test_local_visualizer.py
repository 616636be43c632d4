import cv2
import numpy as np
import pytest
import torch

from mmdense.structures import DenseDataSample
from mmdense.visualization import DenseLocalVisualizer, save_picture
from mmdense.visualization.panels import GAP, HEADER, heat_tile, tile_grid
from mmdense.visualization.stages import MIN_WIDTH, Stage, stage_panel

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


def test_row_shows_truth_prediction_and_error_of_every_task(visualizer):
    image = np.full((20, 30, 3), 7, np.uint8)
    row = visualizer.row(image, filled_sample(visualizer))
    assert len(row) == len(visualizer.titles()) == 1 + 3 * len(TASKS)
    assert np.array_equal(row[0], image)
    # Truth and prediction are the same arrays, so they must look the same.
    for truth, pred, error in zip(row[1::3], row[2::3], row[3::3]):
        assert np.array_equal(truth, pred) and truth.any()
        # White is no error; angles round.
        assert (error >= 250).all()


def test_missing_truth_is_a_black_tile(visualizer):
    row = visualizer.row(
        np.zeros((20, 30, 3), np.uint8), filled_sample(visualizer, lacking=('depth',))
    )
    depth = 1 + 3 * list(TASKS).index('depth')
    assert not row[depth].any() and row[depth + 1].any() and not row[depth + 2].any()


def test_prediction_of_another_size_is_compared_all_the_same(visualizer):
    sample = filled_sample(visualizer)
    task = visualizer.tasks['depth']
    sample.set_gt(task, torch.full((1, 20, 30), 2.0))
    sample.set_pred(task, torch.full((1, 10, 15), 2.0))
    row = visualizer.row(np.zeros((20, 30, 3), np.uint8), sample)
    error = row[3 + 3 * list(TASKS).index('depth')]
    assert error.shape == (20, 30, 3) and (error == 255).all()


def test_panel_has_legends_and_rows_share_their_colours(visualizer):
    image = np.zeros((20, 30, 3), np.uint8)
    samples = [filled_sample(visualizer) for _ in range(2)]
    for sample, depth in zip(samples, (1.0, 4.0)):
        sample.set_gt(visualizer.tasks['depth'], torch.full((1, 20, 30), depth))
    width = MIN_WIDTH + GAP
    panel = visualizer.panel([image, image], samples)
    grid = HEADER + 2 * (20 + GAP) - GAP
    assert panel.shape[0] > grid and panel.shape[1] == 13 * width - GAP
    x = width * (1 + 3 * list(TASKS).index('depth')) + 5
    near, far = panel[HEADER + 5, x], panel[HEADER + 20 + GAP + 5, x]
    # The scale is that of both pictures, so each is of one colour, and the two differ.
    assert near.sum() > far.sum() + 100
    legend = panel[grid + GAP :]
    for index, key in enumerate(TASKS):
        left = width * (1 + 3 * index)
        assert (legend[:, left : left + width] < 200).any(), key
    visualizer.legends = False
    assert visualizer.panel([image, image], samples).shape[0] == grid


def test_legends_take_the_class_names_of_the_data_set():
    visualizer = DenseLocalVisualizer(tasks=dict(semseg=dict(type='SemSeg', num_classes=2)))
    visualizer.dataset_meta = dict(classes=('cat', 'dog'))
    assert visualizer.tasks['semseg'].classes == ('cat', 'dog')
    assert visualizer.dataset_meta == dict(classes=('cat', 'dog'))


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


def test_strongest_cluster_is_shown_in_the_colour_of_its_caption(visualizer):
    maps = np.zeros((3, 4, 6), np.float32)
    maps[0, :, :3] = maps[2, :, 3:] = 0.9
    maps[1] = 0.5
    panel = visualizer.cluster_panel(np.zeros((20, 30, 3), np.uint8), maps, list('abc'))
    column = 30 + GAP
    left, right = (panel[HEADER + 5, column + x].tolist() for x in (3, 27))
    captions = [panel[HEADER // 2, (2 + k) * column + 5].tolist() for k in range(3)]
    assert left == captions[0] and right == captions[2] and captions[1] not in (left, right)


def test_sheet_has_a_row_per_task_with_its_error(visualizer):
    image = np.zeros((20, 160, 3), np.uint8)
    truth = dict(depth=np.full((20, 160), 2.0, np.float32), semseg=np.ones((20, 160), np.uint8))
    pred = dict(depth=np.full((20, 160), 2.5, np.float32))
    sheet = visualizer.sheet(image, truth, pred)
    row = HEADER + 20 + 2 * GAP
    # Image, semseg without a prediction, depth.
    assert sheet.shape[0] >= 3 * row - 2 * GAP
    error = 2 * (160 + GAP) + 5
    errors = [sheet[y, error].tolist() for y in range(len(sheet))]
    # 0.5 m off where a quarter of the median, 0.5 m, is drawn darkest.
    assert errors.count([110, 0, 50]) == 20


def test_one_sample_goes_to_a_file_without_ground_truth(visualizer, tmp_path):
    sample = filled_sample(visualizer)
    image = np.zeros((20, 30, 3), np.uint8)
    visualizer.add_datasample('x', image, sample, draw_gt=False, out_file=tmp_path / 'x.png')
    drawn = cv2.imread(str(tmp_path / 'x.png'))
    # A grid of 3 x 2: the image and four maps, each above its legend.
    assert drawn.shape[1] == 3 * (MIN_WIDTH + GAP) - GAP
    tile = drawn[HEADER : HEADER + 20, MIN_WIDTH + GAP :][:, :30]
    semseg = visualizer.tasks['semseg']
    expected = semseg.colorize(sample.pred(semseg)[0].numpy())
    assert np.array_equal(tile[..., ::-1], expected)
    assert sample.gt(visualizer.tasks['depth']) is not None


def test_long_and_tiny_pictures_can_be_drawn(visualizer):
    for size in ((1, 1), (900, 7), (7, 900)):
        visualizer.max_side = 200
        sample = filled_sample(visualizer, size)
        image = np.zeros((*size, 3), np.uint8)
        assert max(visualizer.row(image, sample)[0].shape) <= 200
        visualizer.panel([image], [sample])
        assert visualizer.sheet(image, *visualizer._maps(sample)).shape[2] == 3


def test_stages_keep_the_colours_of_the_first(visualizer):
    tasks = visualizer.tasks
    image = np.zeros((20, 30, 3), np.uint8)
    first = np.linspace(1, 5, 600, dtype=np.float32).reshape(20, 30)
    stages = [
        Stage('as read', image, dict(depth=first)),
        Stage('nearer', image[:10], dict(depth=first[:10] / 2)),
        Stage('without labels', image, {}),
    ]
    drawn = stage_panel(stages, dict(depth=tasks['depth']), tile_height=20)
    row = HEADER + 20 + GAP
    left = MIN_WIDTH + GAP
    tiles = [drawn[y : y + 20, left : left + 30] for y in (HEADER, row + HEADER, 2 * row + HEADER)]
    assert np.array_equal(tiles[0], tasks['depth'].colorize(first))
    assert np.array_equal(tiles[1][:10], tasks['depth'].colorize(first[:10] / 2, first))
    assert (tiles[1][10:] == 255).all() and not tiles[2].any()
