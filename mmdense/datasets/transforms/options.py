"""Options that several transforms share, and their checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .functional import INTERPOLATIONS, NEAREST_RULES


def check_choice(name: str, option: str, value: str, choices: Sequence[str]) -> str:
    """``value`` if it is one of ``choices``.

    Raises:
        ValueError: Otherwise.
    """
    if value not in choices:
        known = ', '.join(map(repr, choices[:-1])) + f' or {choices[-1]!r}'
        raise ValueError(f'{name}: `{option}` is {value!r}; choose {known}.')
    return value


def check_interpolation(name: str, interpolation: Mapping[str, str] | None) -> dict[str, str]:
    """Task key to way of resampling, as a dict.

    Raises:
        ValueError: If one is unknown.
    """
    for key, mode in (interpolation or {}).items():
        check_choice(name, f"interpolation['{key}']", mode, INTERPOLATIONS)
    return dict(interpolation or {})


def check_resampling(name: str, image_interpolation: str, nearest: str) -> None:
    """Raise ``ValueError`` unless the picture's interpolation and the rule of nearest exist."""
    check_choice(name, 'image_interpolation', image_interpolation, INTERPOLATIONS)
    check_choice(name, 'nearest', nearest, NEAREST_RULES)


class Factors:
    """A source of zoom factors: a range, a grid in it, or a list.

    Args:
        name (str): Of the transform, for messages.
        scale_range (tuple[float, float]): Lowest and highest factor.
        step (float | None): Draw from ``low, low + step, ..., high``; None: uniformly.
        scales (Sequence[float] | None): Draw from these, in place of the range.

    Raises:
        ValueError: If a factor or ``step`` is not positive, or the range is empty.
    """

    def __init__(
        self,
        name: str,
        scale_range: tuple[float, float],
        step: float | None = None,
        scales: Sequence[float] | None = None,
    ) -> None:
        low, high = scale_range
        if not 0 < low <= high or (step is not None and step <= 0):
            raise ValueError(
                f'{name}: scale_range={scale_range}, step={step}; need '
                '0 < low <= high and a positive step, for example (0.5, 2.0) and 0.1.'
            )
        if scales is not None and (not len(scales) or min(scales) <= 0):
            raise ValueError(
                f'{name}: scales={scales}; need positive factors, for example (1.0, 1.2, 1.5).'
            )
        self.low, self.high, self.step = float(low), float(high), step
        self.scales = None if scales is None else tuple(map(float, scales))

    def draw(self, rng: np.random.Generator) -> float:
        """A factor."""
        if self.scales is not None:
            return self.scales[int(rng.integers(len(self.scales)))]
        if self.step is None:
            return float(rng.uniform(self.low, self.high))
        count = int((self.high - self.low) / self.step + 1e-6) + 1
        return self.low + self.step * int(rng.integers(count))

    def __repr__(self) -> str:
        if self.scales is not None:
            return f'scales={self.scales}'
        step = '' if self.step is None else f', step={self.step}'
        return f'scale_range=({self.low}, {self.high}){step}'
