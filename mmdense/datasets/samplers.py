"""Sampling order and augmentation seeds that do not depend on how the work is split."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from mmengine.dataset import InfiniteSampler

from mmdense.registry import DATA_SAMPLERS


class SeededIndex(int):
    """An index that knows the seed and its position in the stream of samples.

    Behaves as the plain ``int`` everywhere; a data set that looks for :meth:`generator`
    draws its augmentations from it.
    """

    seed: int
    position: int

    def __new__(cls, index: int, seed: int, position: int) -> SeededIndex:
        self = super().__new__(cls, index)
        self.seed = seed
        self.position = position
        return self

    def __reduce__(self) -> tuple[type[SeededIndex], tuple[int, int, int]]:
        return SeededIndex, (int(self), self.seed, self.position)

    def generator(self) -> np.random.Generator:
        """The random source of this one draw of the sample."""
        return np.random.default_rng((self.seed, self.position))


@DATA_SAMPLERS.register_module()
class SeededInfiniteSampler(InfiniteSampler):
    """Endless stream of :class:`SeededIndex`.

    The n-th sample of a run has the same index and the same augmentation for every
    number of workers and processes, and a resumed run continues the stream where it
    stopped without loading what it skips.

    Args:
        dataset (Sized): The data set.
        shuffle (bool): Whether each pass is shuffled.
        seed (int | None): Seed; None: mmengine's synchronised seed.
    """

    def _indices_of_rank(self) -> Iterator[SeededIndex]:
        numbered = enumerate(self._infinite_indices())
        for position, index in itertools.islice(numbered, self.rank, None, self.world_size):
            yield SeededIndex(index, self.seed, position)
