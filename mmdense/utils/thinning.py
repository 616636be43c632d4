"""Thinning of binary maps to lines one pixel wide, for many thresholds at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Array = np.ndarray

WORD = 64
#: Row and column steps to the neighbours x1..x8 of the paper: east, then counter-clockwise.
_STEPS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def thin(binary: Array) -> Array:
    """Thin one map to convergence, the reference form.

    Args:
        binary (Array): ``(H, W)`` bool.

    Returns:
        Array: ``(H, W)`` bool.
    """
    # Imported here: it takes a quarter of a second, and few runs evaluate boundaries.
    from skimage.morphology import thin as skimage_thin

    result: Array = skimage_thin(binary)
    return result


def thin_levels(levels: Array, count: int) -> tuple[Array, Array]:
    """Thin the ``count`` maps ``levels > k`` of a picture at once, bit by bit.

    Guo and Hall, "Parallel Thinning with Two-Subiteration Algorithms" (CACM 1989), in the
    form of Lam, Lee and Suen's survey (PAMI 1992) that MATLAB's ``bwmorph`` and
    ``skimage.morphology.thin`` use; the result is equal to :func:`thin` of every map. Map
    k is bit k of the words of a pixel, so that one logic operation serves 64 maps. After
    the first iteration only pixels are looked at whose surroundings have changed since
    they were last tested: for all others the test would come out as before.

    Args:
        levels (Array): ``(H, W)`` integers in [0, count]: how many maps hold the pixel.
        count (int): Number of maps.

    Returns:
        tuple[Array, Array]: Flat indices ``(N,)`` of the pixels that remain in any map,
        ascending, and their words ``(N, ceil(count / 64))`` uint64.
    """
    height, width = levels.shape
    pitch = width + 2
    words = -(-count // WORD) or 1
    padded = np.zeros((height + 2, pitch, words), np.uint64)
    table = _prefix_words(count, words)
    padded[1:-1, 1:-1] = table[levels]
    # One flat array of words: the neighbour in the same word is `pitch * words` apart.
    flat = padded.reshape(-1)
    steps = [(row * pitch + column) * words for row, column in _STEPS]
    _thin_words(flat, steps)
    remaining = padded[1:-1, 1:-1].reshape(height * width, words)
    index = np.flatnonzero(remaining.any(axis=1))
    return index, remaining[index]


def _prefix_words(count: int, words: int) -> Array:
    """Row n has the n lowest bits set; ``(count + 1, words)``."""
    bits = np.arange(words * WORD) < np.arange(count + 1)[:, None]
    packed = np.packbits(bits, axis=1, bitorder='little')
    return packed.view(np.dtype('<u8')).astype(np.uint64)


def _thin_words(flat: Array, steps: Sequence[int]) -> None:
    """Thin in place."""
    pending = [np.flatnonzero(flat)] * 2
    touched = np.zeros(len(flat), bool)
    while len(pending[0]) or len(pending[1]):
        for half in (0, 1):
            index = pending[half]
            pending[half] = index[:0]
            if len(index) == 0:
                continue
            deleted = _deletable(flat, index, steps, half)
            hit = deleted != 0
            changed = index[hit]
            if len(changed) == 0:
                continue
            flat[changed] &= ~deleted[hit]
            around = _neighbourhood(flat, touched, changed, steps)
            pending = [_union(touched, waiting, around) for waiting in pending]


def _neighbourhood(flat: Array, touched: Array, index: Array, steps: Sequence[int]) -> Array:
    """The words next to ``index`` or in it that still hold something, each once."""
    found = np.concatenate([index, *(index + step for step in steps)])
    found = found[flat[found] != 0]
    return _distinct(touched, found)


def _union(touched: Array, first: Array, second: Array) -> Array:
    if len(first) == 0:
        return second
    return _distinct(touched, np.concatenate([first, second]))


def _distinct(touched: Array, index: Array) -> Array:
    """``np.unique`` without sorting; ``touched`` is all False before and after."""
    touched[index] = True
    distinct = np.flatnonzero(touched)
    touched[index] = False
    return distinct


def _deletable(flat: Array, index: Array, steps: Sequence[int], half: int) -> Array:
    """Bits that the subiteration deletes, for each word of ``index``.

    A pixel goes if it joins two parts in no way (G1: exactly one of the four corners of
    its surroundings opens from background to foreground), is neither an end nor inside
    (G2: the smaller of two counts of neighbour pairs is 2 or 3), and lies on the side that
    this subiteration eats from (G3).
    """
    x = [flat[index + step] for step in steps]
    pairs = [x[k] | x[(k + 1) % 8] for k in range(8)]
    opens = [~x[k] & pairs[k + 1] for k in (0, 2, 4, 6)]
    once = _exactly_one(opens)
    two_odd, all_odd = _count(pairs[0], pairs[2], pairs[4], pairs[6])
    two_even, all_even = _count(pairs[1], pairs[3], pairs[5], pairs[7])
    few = two_odd & two_even & ~(all_odd & all_even)
    if half == 0:
        side = (x[1] | x[2] | ~x[7]) & x[0]
    else:
        side = (x[5] | x[6] | ~x[3]) & x[4]
    return flat[index] & once & few & ~side


def _exactly_one(bits: Sequence[Array]) -> Array:
    odd = bits[0] ^ bits[1] ^ bits[2] ^ bits[3]
    # Of the odd counts, three has at least one full pair among (0, 1) and (2, 3).
    return odd & ~((bits[0] & bits[1]) | (bits[2] & bits[3]))


def _count(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, Array]:
    """Whether at least two, and whether all, of four bits are set."""
    ab, cd = a & b, c & d
    return ab | cd | ((a | b) & (c | d)), ab & cd
