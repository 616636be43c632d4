"""Sampling order and augmentation seeds that do not depend on how the work is split."""

from __future__ import annotations

from collections.abc import Iterator, Sized

import numpy as np
import torch
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
        group (int): How many consecutive samples of the data set stay together, in order and in
            one process: 2 for a data set of pairs (``RoomsDataset(views='both')``). The batch size
            of a process should be a multiple of it.

    Raises:
        ValueError: If the data set does not consist of whole groups.
    """

    def __init__(
        self, dataset: Sized, shuffle: bool = True, seed: int | None = None, group: int = 1
    ) -> None:
        if group < 1 or len(dataset) % group:
            raise ValueError(
                f'SeededInfiniteSampler.group is {group} for a data set of {len(dataset)} samples; '
                'give a divisor of that number.'
            )
        self.group = group
        super().__init__(dataset, shuffle, seed)

    def _infinite_indices(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed)
        count = self.size // self.group
        while True:
            order = torch.arange(count)
            if self.shuffle:
                order = torch.randperm(count, generator=generator)
            for group in order.tolist():
                yield from range(group * self.group, (group + 1) * self.group)

    def _indices_of_rank(self) -> Iterator[SeededIndex]:
        for position, index in enumerate(self._infinite_indices()):
            if position // self.group % self.world_size == self.rank:
                yield SeededIndex(index, self.seed, position)
