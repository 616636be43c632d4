"""Optimizers whose state is dealt out to the processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.optim import OptimWrapper
from torch.optim import Optimizer


def _optimizers_of(wrapper: OptimWrapper) -> list[Optimizer]:
    return [value for value in vars(wrapper).values() if isinstance(value, Optimizer)]


@contextmanager
def gathered_state(wrapper: OptimWrapper) -> Iterator[None]:
    """Within, process 0 can read the state of sharded optimizers without the others.

    mmengine's ``ZeroRedundancyOptimizer`` gathers its state from all processes when it is read,
    but mmengine reads it in process 0 alone, which then waits for ever. Here all processes gather
    ahead, and reading takes what is there. Other optimizers are left alone.

    Args:
        wrapper (OptimWrapper): In the same state on all processes, all of which must enter.
    """
    sharded: list[Any] = [
        o for o in _optimizers_of(wrapper) if hasattr(o, 'consolidate_state_dict')
    ]
    for optimizer in sharded:
        optimizer.consolidate_state_dict()
        optimizer.consolidate_state_dict = _gathered_already
    try:
        yield
    finally:
        for optimizer in sharded:
            del optimizer.consolidate_state_dict


def _gathered_already(*args: Any, **kwargs: Any) -> None:
    """In the place of a collective that the processes have just had."""
