"""Activation checkpointing that leaves batch norm statistics alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


@contextmanager
def _frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Normalise by batch statistics without another update of the running ones."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training]
    before = [
        (n, n.momentum, None if n.num_batches_tracked is None else n.num_batches_tracked.clone())
        for n in norms
    ]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count in before:
            norm.momentum = momentum
            if count is not None and norm.num_batches_tracked is not None:
                norm.num_batches_tracked.copy_(count)


def checkpointed(module: nn.Module, *inputs: Any) -> Any:
    """``module(*inputs)``, recomputed in the backward pass instead of kept in memory.

    The second forward pass would otherwise move every running mean and variance twice
    per step.
    """
    return checkpoint(
        module,
        *inputs,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), _frozen_statistics(module)),
    )
