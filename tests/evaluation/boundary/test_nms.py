import math

import numpy as np
import pytest
from pictures import blobs

from mmdense.evaluation.boundary import quantize, suppress_non_maxima

TRIANGLE = np.asarray([1, 2, 3, 4, 5, 4, 3, 2, 1]) / 25


def smooth_by_the_book(p):
    for axis in (0, 1):
        pad = [(4, 4) if a == axis else (0, 0) for a in (0, 1)]
        p = np.apply_along_axis(
            np.convolve, axis, np.pad(p, pad, mode='symmetric'), TRIANGLE, 'valid'
        )
    return p


def sample(p, y, x):
    y = min(max(y, 0), p.shape[0] - 1.001)
    x = min(max(x, 0), p.shape[1] - 1.001)
    i, j = int(y), int(x)
    a, b = y - i, x - j
    return (
        p[i, j] * (1 - a) * (1 - b)
        + p[i, j + 1] * (1 - a) * b
        + p[i + 1, j] * a * (1 - b)
        + p[i + 1, j + 1] * a * b
    )


def suppress_by_the_book(levels):
    """The definition, pixel by pixel; also where it hangs on rounding."""
    p = levels / 255
    sy, sx = np.gradient(smooth_by_the_book(p))
    sxx = np.gradient(sx, axis=1)
    sxy, syy = np.gradient(sy, axis=1), np.gradient(sy, axis=0)
    out = p.copy()
    close = abs(sxy) < 1e-12
    height, width = p.shape
    for i in range(height):
        for j in range(width):
            o = math.atan(syy[i, j] * np.sign(-sxy[i, j]) / (sxx[i, j] + 1e-5)) % math.pi
            around = [sample(p, i + s * math.sin(o), j + s * math.cos(o)) for s in (1, -1)]
            close[i, j] |= any(abs(1.01 * p[i, j] - value) < 1e-12 for value in around)
            if any(1.01 * p[i, j] < value for value in around):
                out[i, j] = 0
    for k in range(5):
        for line in (np.s_[k], np.s_[height - 1 - k], np.s_[:, k], np.s_[:, width - 1 - k]):
            out[line] *= k / 5
    return out, close


@pytest.mark.parametrize('size', [(31, 40), (40, 23)])
def test_suppression_equals_the_definition(size):
    levels = blobs(np.random.default_rng(size[0]), size)
    expected, close = suppress_by_the_book(levels)
    assert close.mean() < 0.02
    found = suppress_non_maxima(levels)
    np.testing.assert_allclose(found[~close], expected[~close], atol=1e-12)
    assert 0.05 < (found > 0).mean() < 0.6


def test_vertical_ridge_becomes_one_column_and_fades_at_the_border():
    columns = np.arange(41)
    ridge = (200 * np.exp(-(((columns - 20) / 3) ** 2))).astype(np.uint8)
    found = suppress_non_maxima(np.tile(ridge, (30, 1)))
    assert (np.flatnonzero(found[15]) == [20]).all()
    np.testing.assert_allclose(found[:6, 20] / (200 / 255), [0, 0.2, 0.4, 0.6, 0.8, 1])


def test_mirrored_picture_gives_the_mirrored_map_up_to_the_half_plane_of_ties():
    levels = blobs(np.random.default_rng(3), (50, 60))
    straight, mirrored = suppress_non_maxima(levels), suppress_non_maxima(levels[:, ::-1])
    assert (straight != mirrored[:, ::-1]).mean() < 0.01


def test_flat_map_survives_and_empty_map_stays_empty():
    assert not suppress_non_maxima(np.zeros((20, 20), np.uint8)).any()
    flat = suppress_non_maxima(np.full((20, 20), 255, np.uint8))
    assert (flat[5:-5, 5:-5] == 1).all()
    assert flat[0].max() == 0


@pytest.mark.parametrize('size', [(1, 1), (1, 30), (30, 1), (3, 4), (8, 9)])
def test_tiny_pictures_stay_in_range(size):
    found = suppress_non_maxima(np.full(size, 255, np.uint8))
    assert found.shape == size
    assert ((found >= 0) & (found <= 1)).all()


def test_quantizing_truncates():
    values = np.asarray([[0, 1, 0.999, 1 / 255, 0.5]])
    assert quantize(values).tolist() == [[0, 255, 254, 1, 127]]


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_levels_that_were_read_from_a_file_come_back(dtype):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(quantize(levels.astype(dtype) / dtype(255)), levels)


@pytest.mark.parametrize('bad', [-0.01, 1.5, np.nan])
def test_quantizing_refuses_what_is_no_probability(bad):
    with pytest.raises(ValueError, match=r'expected \[0, 1\].*not logits'):
        quantize(np.asarray([[0.5, bad]]))
