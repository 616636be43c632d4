"""Which axes normals are stored in, judged by the normals themselves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mmdense.utils import DataError

Array = np.ndarray

_NAMES = (('right', 'left'), ('up', 'down'), ('back', 'front'))


@dataclass(frozen=True)
class AxisEstimate:
    """What :func:`estimate_axes` found.

    Args:
        axes (str): The likeliest axes, in the form that ``normal_axes`` takes.
        agreement (tuple[float, float, float]): For x, y and z the weight that speaks for the
            answer as a share of all weight: 1 is unanimous, 0.5 undecided.
        pixels (int): Pixels with a normal.
    """

    axes: str
    agreement: tuple[float, float, float]
    pixels: int

    def __str__(self) -> str:
        shares = ', '.join(f'{n} {100 * a:.0f} %' for n, a in zip('xyz', self.agreement))
        weak = [n for n, a in zip('xyz', self.agreement) if a < 0.65]
        text = f'{self.axes} (agreement: {shares}; {self.pixels} pixels)'
        if weak:
            text += (
                f'. Undecided on {", ".join(weak)}: give more pictures of level indoor scenes, or '
                'look whether the components are in another order.'
            )
        return text


def estimate_axes(maps: Iterable[Array]) -> AxisEstimate:
    """Guess the axes of stored normals from what any picture of a room must show.

    Visible surfaces face the camera, so z has one sign nearly everywhere. Of surfaces on the
    left most face right, and those on the right face left. Low in the picture surfaces face up
    (floors, table tops), high in it down (ceilings). Each pixel votes with its component times
    its distance from the middle of the picture. The order of the components is not questioned.

    Args:
        maps (Iterable[Array]): Normals ``(H, W, 3)`` as stored, floats around 0; zero vectors
            are unknown. A dozen pictures of level indoor scenes decide; a single one may err.

    Raises:
        DataError: If no pixel has a normal, or a map has another shape.
    """
    favour, total, pixels = np.zeros(3), np.zeros(3), 0
    for normals in maps:
        if normals.ndim != 3 or normals.shape[2] != 3:
            raise DataError(f'estimate_axes: a map is {normals.shape}, expected (H, W, 3).')
        height, width = normals.shape[:2]
        known = (normals != 0).any(axis=-1)
        columns = 1 - (2 * np.arange(width) + 1) / width  # positive on the left
        rows = (2 * np.arange(height) + 1) / height - 1  # positive below
        votes = np.stack(
            [
                normals[..., 0] * columns[None],
                normals[..., 1] * rows[:, None],
                normals[..., 2],
            ],
            axis=-1,
        )[known]
        favour += np.maximum(votes, 0).sum(axis=0)
        total += np.abs(votes).sum(axis=0)
        pixels += int(known.sum())
    if not pixels or not total.all():
        raise DataError(
            'estimate_axes: no pixel has a normal with three components. Decode pictures first: '
            '2 * v / 255 - 1 for 8 bit.'
        )
    share = favour / total
    chosen = [pair[0] if s >= 0.5 else pair[1] for pair, s in zip(_NAMES, share)]
    agreement = [float(max(s, 1 - s)) for s in share]
    return AxisEstimate(
        axes=' '.join(f'{n}-{direction}' for n, direction in zip('xyz', chosen)),
        agreement=(agreement[0], agreement[1], agreement[2]),
        pixels=pixels,
    )
