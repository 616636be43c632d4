"""Which step of a run this is, and random numbers that belong to it."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.logging import MessageHub


def current_iteration() -> int | None:
    """0-based iteration of the training that runs in this process; None without one."""
    found: int | None = MessageHub.get_current_instance().get_info('iter', None)
    return found


def step_generator(seed: int) -> torch.Generator | None:
    """A generator on the CPU that depends on ``seed`` and the iteration only.

    Its numbers are the same on all processes and in a resumed run.

    Returns:
        torch.Generator | None: None outside a run, which means PyTorch's own generator.
    """
    iteration = current_iteration()
    if iteration is None:
        return None
    state = np.random.SeedSequence((seed, iteration)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
