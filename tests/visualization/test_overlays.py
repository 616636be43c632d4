import numpy as np
import pytest

from mmdense.visualization.legends import draw_bar, draw_swatches
from mmdense.visualization.overlays import OUTLINES, TOLERANCE, distance_to, outline_overlay
from mmdense.visualization.panels import (
    below,
    beside,
    error_colors,
    error_tile,
    fit_size,
    match_size,
)

SIZE = (40, 60)


def column(x):
    mask = np.zeros(SIZE, bool)
    mask[:, x] = True
    return mask


def shown(drawn, name):
    return (drawn == OUTLINES[name]).all(-1)


def test_outlines_near_each_other_are_found_and_others_are_not():
    image = np.full((*SIZE, 3), 90, np.uint8)
    drawn = outline_overlay(image, column(11), column(10), SIZE)
    assert np.array_equal(shown(drawn, 'found'), column(10))
    assert not shown(drawn, 'missed').any() and not shown(drawn, 'not there').any()
    drawn = outline_overlay(image, column(30), column(10), SIZE)
    assert np.array_equal(shown(drawn, 'missed'), column(10))
    assert np.array_equal(shown(drawn, 'not there'), column(30))
    assert not shown(drawn, 'found').any()


def test_the_tolerance_is_a_share_of_the_diagonal():
    size = (300, 400)
    reach = int(TOLERANCE * 500)
    masks = np.zeros((3, *size), bool)
    for mask, x in zip(masks, (100, 100 + reach, 101 + reach)):
        mask[:, x] = True
    image = np.zeros((*size, 3), np.uint8)
    assert not shown(outline_overlay(image, masks[1], masks[0], size), 'missed').any()
    assert shown(outline_overlay(image, masks[2], masks[0], size), 'missed').any()


def test_an_empty_map_misses_everything():
    image = np.zeros((*SIZE, 3), np.uint8)
    drawn = outline_overlay(image, np.zeros(SIZE, bool), column(10), SIZE)
    assert np.array_equal(shown(drawn, 'missed'), column(10))
    assert np.isinf(distance_to(np.zeros(SIZE, bool))).all()


def test_one_outline_alone_is_white_and_thin_lines_survive_shrinking():
    image = np.zeros((*SIZE, 3), np.uint8)
    small = outline_overlay(image, column(11), None, (10, 15))
    assert small.shape == (10, 15, 3) and shown(small, 'found').any(1).all()
    plain = outline_overlay(image, None, None, SIZE)
    assert not plain.any()


def test_distance_as_by_definition():
    mask = np.zeros((7, 9), bool)
    mask[2, 3] = mask[6, 8] = True
    y, x = np.mgrid[:7, :9]
    by_hand = np.minimum(np.hypot(y - 2, x - 3), np.hypot(y - 6, x - 8))
    assert distance_to(mask) == pytest.approx(by_hand, abs=1e-4)


def test_errors_go_from_white_to_dark_and_unknown_is_black():
    tile = error_tile(np.array([[0, 0.5, 1, 7, np.nan]], np.float32), 1.0)[0]
    assert tile[0].tolist() == [255, 255, 255] and not tile[4].any()
    assert np.array_equal(tile[2], tile[3]) and np.array_equal(tile[3], error_colors()[-1])
    brightness = error_colors().astype(int).sum(1)
    assert (np.diff(brightness) <= 0).all() and brightness[-1] > 100


def test_bars_and_swatches_show_their_colours():
    colors = np.array([[10, 20, 30], [200, 100, 50], [0, 255, 0]], np.uint8)
    bar = draw_bar(colors, 'low', 'high', 122)
    assert bar.shape[1] == 122
    assert [bar[6, x].tolist() for x in (2, 60, 119)] == colors.tolist()
    # One column where the names need the width, several where they fit.
    tall = draw_swatches(colors, ['a rather long name'] * 3, 150)
    flat = draw_swatches(colors, ['a', 'b', 'c'], 150)
    assert tall.shape[0] > 2 * flat.shape[0]
    for color in colors:
        assert (tall == color).all(-1).sum() >= 80 and (flat == color).all(-1).sum() >= 80


def test_tiles_beside_and_below_each_other():
    a, b = np.full((3, 4, 3), 1, np.uint8), np.full((5, 2, 3), 2, np.uint8)
    row = beside([a, b], gap=1)
    assert row.shape == (5, 7, 3) and (row[:3, :4] == 1).all() and (row[:, 5:] == 2).all()
    assert (row[3:, :4] == 255).all() and (row[:, 4] == 255).all()
    stack = below([a, b], gap=1)
    assert stack.shape == (9, 4, 3) and (stack[:3] == 1).all() and (stack[4:, :2] == 2).all()


def test_sizes_of_tiles():
    assert fit_size((50, 100), 100, 1000) == (100, 200)
    assert fit_size((500, 100), 100, 1000) == (500, 100)
    assert fit_size((5000, 37), 100, 1000) == (1000, 7)
    assert fit_size((1, 1), 100, 1000) == (100, 100)
    assert fit_size((10, 5000), 100, 1000) == (2, 1000)
    values = np.arange(4.0).reshape(2, 2)
    assert np.array_equal(match_size(values, (4, 4)), np.kron(values, np.ones((2, 2))))
