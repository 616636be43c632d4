"""Where a run is, for parts that do not know the runner."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.logging import MessageHub


@dataclass(frozen=True)
class RunClock:
    """What mmengine's ``RuntimeInfoHook`` told the message hub; the defaults without a run.

    Attributes:
        iteration (int): Finished iterations, from 0.
        max_iters (int | None): Length of the run.
        seed (int): Of the run.
    """

    iteration: int = 0
    max_iters: int | None = None
    seed: int = 0

    @classmethod
    def now(cls) -> RunClock:
        """Of the run that was started last in this process."""
        hub = MessageHub.get_current_instance()
        return cls(
            int(hub.get_info('iter', 0)), hub.get_info('max_iters'), int(hub.get_info('seed') or 0)
        )


def seed_of(*parts: int | str) -> int:
    """One seed of several numbers and names."""
    numbers = [zlib.crc32(p.encode()) if isinstance(p, str) else abs(p) for p in parts]
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def step_generator(device: torch.device, seed: int, iteration: int, name: str) -> torch.Generator:
    """A source of draws that depends on seed, iteration, process and name alone.

    The model's own stream is not touched, and a resumed run draws what an unbroken one does.
    """
    generator = torch.Generator(device=device)
    return generator.manual_seed(seed_of(seed, iteration, get_rank(), name))
