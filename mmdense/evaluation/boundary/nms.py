"""Non-maximum suppression of boundary probabilities, the first step of the boundary benchmark."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import correlate1d

from mmdense.evaluation.file_protocol import in_unit_range, probability_to_uint8
from mmdense.utils import DataError, ShapeError

Array = np.ndarray

#: Half width of the triangle filter that is applied before the orientation is taken.
RADIUS = 4
#: A pixel survives a neighbour that is larger by less than this factor.
TOLERANCE_FACTOR = 1.01
#: Rows and columns at the border that are faded out.
BORDER = 5


def quantize(probability: Array) -> Array:
    """Probabilities to grey levels, as :func:`~..file_protocol.probability_to_uint8`.

    Raises:
        ValueError: If a value is NaN or outside [0, 1].
    """
    probability = np.asarray(probability)
    if not in_unit_range(probability):
        raise ValueError(
            f'boundary probabilities range over [{np.nanmin(probability)}, '
            f'{np.nanmax(probability)}], expected [0, 1]. Give the decoded map (after the '
            'sigmoid, 8-bit levels divided by 255), not logits.'
        )
    return probability_to_uint8(probability)


def require_levels(levels: Array) -> None:
    """Raise unless a map has the form that files of the benchmark have, ``(H, W)`` uint8."""
    if levels.ndim != 2:
        raise ShapeError(
            f'boundary map: shape {levels.shape}, expected (H, W). Take off the channel.'
        )
    if levels.dtype != np.uint8:
        raise DataError(
            f'boundary map: {levels.dtype}, expected uint8, probability times 255. Call '
            'quantize(probability) first.'
        )


def suppress_non_maxima(levels: Array) -> Array:
    """Thin ridges of a probability map: keep pixels that are maximal across the boundary.

    The suppression of the structured-edge detector (Dollar and Zitnick, "Fast Edge
    Detection Using Structured Forests", TPAMI 2015) as SEISM's reader of continuous maps
    applies it. With ``p = levels / 255``, smoothed to ``S`` by a triangle filter of radius
    4, the direction across the boundary is
    ``O = atan(Syy sign(-Sxy) / (Sxx + 1e-5)) mod pi``. A pixel becomes 0 where ``1.01 p``
    is smaller than ``p``, interpolated linearly, at distance 1 along ``+O`` or ``-O``. The
    five outermost rows and columns are then multiplied by 0, 0.2, 0.4, 0.6, 0.8.

    The sign of Sxy is exact. Where it is exactly 0 (0.3 % of the pixels of a 375x500 picture),
    so that the direction is along the row, codes that filter in floating point take the sign
    of their rounding: they differ there from this function, in a tenth of these pixels, and as
    much from one another.

    Args:
        levels (Array): ``(H, W)`` uint8, probability times 255.

    Returns:
        Array: ``(H, W)`` float64 in [0, 1].

    Raises:
        ShapeError: If ``levels`` is not ``(H, W)``.
        DataError: If ``levels`` is not uint8.
    """
    levels = np.asarray(levels)
    require_levels(levels)
    p = levels / 255.0
    rows, columns = np.nonzero(levels)
    if len(rows) == 0:
        return p
    angle = _orientation(levels)[rows, columns]
    dx, dy = np.cos(angle), np.sin(angle)
    limit = TOLERANCE_FACTOR * p[rows, columns]
    beaten = limit < _interpolate(p, rows + dy, columns + dx)
    beaten |= limit < _interpolate(p, rows - dy, columns - dx)
    out = p.copy()
    out[rows[beaten], columns[beaten]] = 0
    return _fade_border(out)


def _orientation(levels: Array) -> Array:
    """The direction across the boundary in radians, [0, pi]; ``(H, W)``."""
    # Sums in integers up to a known factor are exact, so the sign of Sxy, which decides
    # between two directions, does not hang on rounding.
    triangle = np.r_[np.arange(1, RADIUS + 2), np.arange(RADIUS, 0, -1)]
    smooth = levels.astype(np.int32)
    for axis in (0, 1):
        smooth = correlate1d(smooth, triangle, axis=axis, mode='reflect')
    scale = 4.0 * 255 * (RADIUS + 1) ** 4
    sx, sy = _twice_gradient(smooth, 1), _twice_gradient(smooth, 0)
    sxx, sxy, syy = _twice_gradient(sx, 1), _twice_gradient(sy, 1), _twice_gradient(sy, 0)
    ratio = (syy / scale) * np.sign(-sxy) / (sxx / scale + 1e-5)
    return np.mod(np.arctan(ratio), np.pi)


def _twice_gradient(values: Array, axis: int) -> Array:
    """Twice the central difference, one-sided at the ends; exact for integers."""
    v = np.moveaxis(values, axis, 0)
    out = np.zeros_like(v)
    if len(v) > 1:
        out[1:-1] = v[2:] - v[:-2]
        out[0], out[-1] = 2 * (v[1] - v[0]), 2 * (v[-1] - v[-2])
    return np.moveaxis(out, 0, axis)


def _interpolate(p: Array, y: Array, x: Array) -> Array:
    """Bilinear samples of ``p`` with coordinates clamped to ``[0, size - 1.001]``."""
    height, width = p.shape
    # A picture one pixel high or wide has no second row or column to mix with.
    y, x = np.clip(y, 0, max(height - 1.001, 0)), np.clip(x, 0, max(width - 1.001, 0))
    top, left = y.astype(np.intp), x.astype(np.intp)
    fy, fx = y - top, x - left
    below, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    upper = p[top, left] * (1 - fx) + p[top, right] * fx
    lower = p[below, left] * (1 - fx) + p[below, right] * fx
    return upper * (1 - fy) + lower * fy


def _fade_border(p: Array) -> Array:
    height, width = p.shape
    # Opposite ramps of a tiny picture must not overlap.
    border = min(BORDER, height // 2, width // 2)
    ramp = np.arange(border) / max(border, 1)
    p[:border] *= ramp[:, None]
    p[height - border :] *= ramp[::-1, None]
    p[:, :border] *= ramp
    p[:, width - border :] *= ramp[::-1]
    return p
