"""Value noise on a small repeating lattice."""

from __future__ import annotations

import numpy as np

Array = np.ndarray

#: Lattice cells after which the noise repeats.
PERIOD = 64
_WIDTH = PERIOD + 1


def _make_lattice() -> Array:
    """Random values ``(65 * 65,)`` whose last row and column repeat the first."""
    values = np.random.default_rng(20250117).random((PERIOD, PERIOD), dtype=np.float32)
    return np.pad(values, (0, 1), mode='wrap').ravel()


_LATTICE = _make_lattice()


def lattice(i: Array, j: Array | int = 0) -> Array:
    """A fixed random number in [0, 1) for each integer cell (i, j)."""
    mask = PERIOD - 1
    return _LATTICE.take((np.asarray(j) & mask) * _WIDTH + (i & mask))


def cells(x: Array) -> tuple[Array, Array]:
    """Integer cell (int32) and position inside it, [0, 1), of coordinates."""
    whole = np.floor(x)
    return whole.astype(np.int32), x - whole


def value_noise(x: Array, y: Array) -> Array:
    """Smooth noise in [0, 1) with one lattice cell per unit, float32."""
    i, fx = cells(x)
    j, fy = cells(y)
    fx = fx * fx * (3 - 2 * fx)
    fy = fy * fy * (3 - 2 * fy)
    mask = PERIOD - 1
    corner = (j & mask) * _WIDTH + (i & mask)
    a, b = _LATTICE.take(corner), _LATTICE.take(corner + 1)
    c, d = _LATTICE.take(corner + _WIDTH), _LATTICE.take(corner + (_WIDTH + 1))
    a += fx * (b - a)
    c += fx * (d - c)
    a += fy * (c - a)
    return a
