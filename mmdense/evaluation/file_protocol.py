"""What a prediction becomes when published evaluation codes write it to disk and read it back.

The ASTMT lineage (ASTMT, MTI-Net, InvPT's saved maps) scores 8-bit files rather than the
network's floats. These functions are that round trip, without the files.

Truncating what was read from a file in float64 gives the file's levels back.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray

#: Truncation to 8 bits makes a unit vector longer by less than sqrt(3) * 2 / 255.
_LONGEST = 1.02
#: Resized in float32, a map of ones holds numbers up to 1.2e-7 above one.
_ROUNDING = 1e-6


def in_unit_range(probability: Array) -> bool:
    """Whether all values lie in [0, 1], up to the rounding of a bilinear resize; NaN does not."""
    low, high = -_ROUNDING, 1 + _ROUNDING
    # Not `any(... < 0)`: a comparison with NaN is False.
    return bool(((probability >= low) & (probability <= high)).all())


def single_or_double(values: Array) -> Array:
    """float64 as it is, everything else in float32, in which networks compute at most."""
    return values if values.dtype == np.float64 else values.astype(np.float32)


def probability_to_uint8(probability: Array) -> Array:
    """Grey levels of probabilities in [0, 1]: 255 p, truncated.

    Example:
        >>> probability_to_uint8(np.array([0.0, 0.5, 0.999, 1.0])).tolist()
        [0, 127, 254, 255]
    """
    probability = np.asarray(probability)
    # In the precision of the network, as codes that write files do; levels that were read come
    # back in both.
    levels: Array = 255 * single_or_double(probability)
    return np.clip(levels, 0, 255).astype(np.uint8)


def uint8_to_probability(levels: Array) -> Array:
    """Probabilities of grey levels, float64."""
    return np.asarray(levels) / np.float64(255)


def normals_to_uint8(normals: Array) -> Array:
    """Colours of vectors ``(..., 3)`` with components in [-1, 1]: 255 (n + 1) / 2, truncated.

    A map that holds vectors longer than one is taken for what a network gave, and normalised
    first, as published codes do. Shorter vectors, of a map that was resized, stay as they are.

    Example:
        >>> normals_to_uint8(np.array([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0]])).tolist()
        [[127, 0, 127], [127, 127, 255]]
    """
    normals = np.asarray(normals)
    if not np.issubdtype(normals.dtype, np.floating):
        normals = normals.astype(np.float64)
    kind = normals.dtype.type
    length = np.sqrt((normals**2).sum(axis=-1, keepdims=True))
    if (length > _LONGEST).any():
        normals = np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)
    # The step is below the resolution of float32; in float64 it undoes the rounding of
    # 2 v / 255 - 1, which would lose a level for some v.
    scaled = (normals + kind(1)) * kind(127.5) + kind(1e-9)
    return np.clip(scaled, 0, 255).astype(np.uint8)


def uint8_to_normals(colours: Array) -> Array:
    """Vectors of colours, ``2 v / 255 - 1``, float64, of the length that truncation left.

    No colour stands for zero: a zero vector, written as 127, comes back as the direction
    (-1, -1, -1).
    """
    return np.asarray(colours) * np.float64(2 / 255) - 1
