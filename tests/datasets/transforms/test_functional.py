import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdense.datasets.transforms.functional import (
    move_intrinsics,
    nearest_index,
    pad,
    resize_gt,
    resize_image,
    resize_nearest,
)
from mmdense.tasks import Depth, Normal, SemSeg


def brute_force_nearest(array, size):
    """For each target pixel the source pixel that its centre falls into, in exact integers."""
    out = np.empty((*size, *array.shape[2:]), array.dtype)
    for row in range(size[0]):
        for col in range(size[1]):
            source_row = (2 * row + 1) * array.shape[0] // (2 * size[0])
            source_col = (2 * col + 1) * array.shape[1] // (2 * size[1])
            out[row, col] = array[source_row, source_col]
    return out


sides = st.integers(1, 13)


@settings(max_examples=60, deadline=None)
@given(sides, sides, sides, sides, st.sampled_from([(), (3,)]))
def test_nearest_copies_the_pixel_that_holds_the_centre(h, w, new_h, new_w, channels):
    array = np.arange(h * w * int(np.prod(channels))).reshape(h, w, *channels)
    assert np.array_equal(
        resize_nearest(array, (new_h, new_w)), brute_force_nearest(array, (new_h, new_w))
    )


def test_nearest_and_bilinear_agree_on_where_pixels_are():
    # Thirds: the middle pixel of three has the centre of the large one.
    img = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    assert np.array_equal(resize_image(img, (3, 4)), resize_nearest(img, (3, 4)))
    assert nearest_index(6, 2).tolist() == [1, 4]


def test_nearest_commutes_with_mirroring_where_no_centre_is_on_an_edge():
    row = np.arange(15)[None]
    assert np.array_equal(
        resize_nearest(row[:, ::-1], (1, 5)), resize_nearest(row, (1, 5))[:, ::-1]
    )


def test_linear_depth_ignores_unknown_neighbours():
    depth = np.array([[2.0, 0.0, 4.0, 4.0]], np.float32)
    out = resize_gt(Depth(), depth, (1, 8), 'linear')
    # Columns 2 and 3 have their centres in the unknown pixel; the others see 2 or 4 only.
    assert out[0].tolist() == [2, 2, 0, 0, 4, 4, 4, 4]


def test_linear_depth_is_bilinear_where_all_is_known():
    depth = np.array([[1.0, 3.0]], np.float32)
    assert resize_gt(Depth(), depth, (1, 4), 'linear')[0].tolist() == [1.0, 1.5, 2.5, 3.0]


@settings(max_examples=60, deadline=None)
@given(sides, sides, sides, sides, st.integers(0, 999))
def test_depth_is_never_interpolated_across_unknown_pixels(h, w, new_h, new_w, seed):
    """Known output lies between the known pixels around it, and is known where nearest is."""
    rng = np.random.default_rng(seed)
    depth = rng.uniform(1, 9, (h, w)).astype(np.float32)
    depth[rng.random((h, w)) < 0.5] = 0
    out = resize_gt(Depth(), depth, (new_h, new_w), 'linear')
    if (h, w) == (new_h, new_w):
        return
    assert np.array_equal(out > 0, resize_nearest(depth, (new_h, new_w)) > 0)
    for row, col in zip(*np.nonzero(out)):
        y, x = (row + 0.5) * h / new_h - 0.5, (col + 0.5) * w / new_w - 0.5
        rows = np.clip([np.floor(y), np.ceil(y)], 0, h - 1).astype(int)
        cols = np.clip([np.floor(x), np.ceil(x)], 0, w - 1).astype(int)
        around = depth[np.ix_(rows, cols)]
        around = around[around > 0]
        assert around.min() - 1e-4 <= out[row, col] <= around.max() + 1e-4


def test_infinite_depth_does_not_leak():
    depth = np.array([[1.0, np.inf, 3.0]], np.float32)
    out = resize_gt(Depth(), depth, (1, 6), 'linear')
    assert np.isfinite(out).all() and out[0, 0] == 1


def test_linear_normals_have_unit_length():
    normal = np.array([[[1, 0, 0], [0, 1, 0]]], np.float32)
    out = resize_gt(Normal(), normal, (1, 4), 'linear')
    assert np.allclose(np.linalg.norm(out, axis=-1), 1)
    assert np.allclose(out[0, 1], np.array([0.75, 0.25, 0]) / np.hypot(0.75, 0.25))


@pytest.mark.parametrize('size', [(15, 17), (7, 6), (20, 24)])
def test_cubic_normals_are_cubic_where_all_it_weighs_is_known_and_linear_elsewhere(size):
    rng = np.random.default_rng(1)
    normal = rng.normal(size=(12, 14, 3)).astype(np.float32)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    normal[4:6, 7:9] = 0
    out = resize_gt(Normal(), normal, size, 'cubic')
    cubic = cv2.resize(normal, size[::-1], interpolation=cv2.INTER_CUBIC)
    cubic /= np.linalg.norm(cubic, axis=-1, keepdims=True)
    linear = resize_gt(Normal(), normal, size, 'linear')
    known = normal.any(axis=-1)
    seen = {True: 0, False: 0}
    for row, col in np.ndindex(size):
        y, x = (np.array([row, col]) + 0.5) * known.shape / size - 0.5
        rows = np.clip(np.arange(4) + int(np.floor(y)) - 1, 0, 11)
        cols = np.clip(np.arange(4) + int(np.floor(x)) - 1, 0, 13)
        all_known = bool(known[np.ix_(rows, cols)].all())
        expected = cubic if all_known else linear
        assert np.allclose(out[row, col], expected[row, col], atol=1e-5)
        seen[all_known] += not np.allclose(cubic[row, col], linear[row, col], atol=1e-3)
    assert seen[True] > 10 and seen[False] > 5


def test_labels_are_moved_by_nearest_even_if_linear_is_asked():
    labels = np.array([[0, 4]], np.uint8)
    assert resize_gt(SemSeg(5), labels, (1, 6), 'linear')[0].tolist() == [0, 0, 0, 4, 4, 4]


def test_pad_puts_the_fill_outside():
    out = pad(np.ones((2, 2), np.uint8), (1, 2, 0, 1), 255)
    assert out.tolist() == [[255, 1, 1, 255, 255], [255, 1, 1, 255, 255], [255] * 5]


def test_intrinsics_follow_positions_and_are_not_changed_in_place():
    before = np.array([[10.0, 0, 4], [0, 12, 5], [0, 0, 1]])
    results = dict(intrinsics=before)
    move_intrinsics(results, scale=(2, 3), offset=(-1, 1))
    assert results['intrinsics'].tolist() == [[20, 0, 7], [0, 36, 16], [0, 0, 1]]
    assert before[0, 0] == 10
    move_intrinsics(empty := {}, scale=(2, 2))
    assert empty == {}


@pytest.mark.parametrize('size', [(5, 7), (9, 3)])
def test_resize_to_the_same_size_is_the_same_array(size):
    img = np.zeros((*size, 3), np.uint8)
    assert resize_image(img, size) is img
