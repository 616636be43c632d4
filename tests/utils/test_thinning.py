import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import blobs

from mmdense.utils.thinning import thin, thin_levels


def unpack(index, words, shape, count):
    table = np.zeros((shape[0] * shape[1], words.shape[1]), np.uint64)
    table[index] = words
    return [
        (table[:, k // 64] >> np.uint64(k % 64) & np.uint64(1)).astype(bool).reshape(shape)
        for k in range(count)
    ]


def assert_equal_to_reference(levels, count):
    maps = unpack(*thin_levels(levels, count), levels.shape, count)
    for k, found in enumerate(maps):
        np.testing.assert_array_equal(found, thin(levels > k), err_msg=f'map {k}')


def draw_picture(kind, rng, size, count):
    if kind == 'noise':
        return rng.integers(0, count + 1, size)
    if kind == 'blobs':
        return blobs(rng, size, smooth=rng.uniform(0.7, 4)).astype(int) * count // 255
    levels = np.zeros(size, int)
    for _ in range(6):
        ends = rng.uniform(0, 1, (2, 2)) * (np.asarray(size) - 1)
        steps = np.linspace(0, 1, 3 * max(size))[:, None]
        rows, columns = np.rint(ends[0] + steps * (ends[1] - ends[0])).astype(int).T
        levels[rows, columns] = rng.integers(1, count + 1)
    return levels


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(['noise', 'blobs', 'lines']),
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    count=st.sampled_from([1, 2, 5, 64, 65, 101]),
)
def test_every_map_is_thinned_as_by_the_reference(kind, seed, height, width, count):
    levels = draw_picture(kind, np.random.default_rng(seed), (height, width), count)
    assert_equal_to_reference(levels, count)


def test_every_neighbourhood_of_a_pixel():
    tiles = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(int)
    levels = np.zeros((16, 5, 16, 5), int)
    levels[:, 2, :, 2] = 1
    ring = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2), (3, 3)]
    for bit, (row, column) in enumerate(ring):
        levels[:, row, :, column] = tiles[:, bit].reshape(16, 16)
    assert_equal_to_reference(levels.reshape(80, 80), 1)


@pytest.mark.parametrize('size', [(1, 1), (2, 2), (1, 40), (40, 1), (37, 50)])
def test_full_picture(size):
    assert_equal_to_reference(np.full(size, 3), 3)


def test_nothing_to_thin():
    index, words = thin_levels(np.zeros((5, 6), int), 0)
    assert len(index) == len(words) == 0
