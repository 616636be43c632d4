"""Random choices in the words of a scene."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar('T')
Color = tuple[float, float, float]

#: First word of every seed, so that the streams for geometry and for sensor noise never meet
#: (numpy pads short seeds with zeros: lists of different length alone may coincide).
SCENE_STREAM, SENSOR_STREAM = 1, 2


def make_rng(stream: int, seed: int, split: int, index: int, view: int = 0) -> np.random.Generator:
    """The generator of one stream of one scene, the same in every process."""
    return np.random.default_rng([stream, seed, split, index, view])


class Dice:
    """A random generator that answers in Python floats.

    Args:
        rng (np.random.Generator): Where all numbers come from.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._random = rng.random

    def uniform(self, low: float, high: float) -> float:
        """A number in ``[low, high)``."""
        return low + (high - low) * self._random()

    def sign(self) -> int:
        """-1 or 1."""
        return 1 if self._random() < 0.5 else -1

    def chance(self, probability: float) -> bool:
        """True with ``probability``."""
        return self._random() < probability

    def integer(self, low: int, high: int) -> int:
        """An integer from ``low`` to ``high``, both included."""
        return low + int(self._random() * (high - low + 1))

    def pick(self, options: Sequence[T]) -> T:
        """One of ``options``."""
        return options[int(self._random() * len(options))]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """``options`` in random order."""
        return sorted(options, key=lambda _: self._random())

    def color(
        self,
        hue: tuple[float, float] = (0.0, 1.0),
        saturation: tuple[float, float] = (0.0, 1.0),
        value: tuple[float, float] = (0.0, 1.0),
    ) -> Color:
        """A colour from ranges of hue, saturation and value, each in [0, 1]; linear RGB."""
        rgb = colorsys.hsv_to_rgb(
            self.uniform(*hue) % 1.0, self.uniform(*saturation), self.uniform(*value)
        )
        # Pictures are encoded with a square root, so a displayed value is squared here.
        return (rgb[0] ** 2, rgb[1] ** 2, rgb[2] ** 2)
