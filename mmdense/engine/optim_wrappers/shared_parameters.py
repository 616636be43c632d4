"""The parameters that all tasks share, and gradients on them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def split_parameters(
    model: nn.Module, patterns: str | Sequence[str], where: str
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Trained parameters, those that all tasks share and the others.

    Args:
        model (nn.Module): The model.
        patterns (str | Sequence[str]): Regular expressions, searched in the names.
        where (str): The config key, for messages.

    Raises:
        ValueError: If a pattern matches no parameter.
    """
    listed = [patterns] if isinstance(patterns, str) else list(patterns)
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    for pattern in listed:
        if not any(re.search(pattern, name) for name, _ in named):
            tops = sorted({name.partition('.')[0] for name, _ in named})
            raise ValueError(
                f'{where}: the pattern {pattern!r} matches no trained parameter of '
                f'{type(model).__name__}, whose parts are {tops}. Correct the pattern.'
            )
    shared: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, param in named:
        (shared if any(re.search(p, name) for p in listed) else others).append(param)
    return shared, others


def add_gradients(
    value: Tensor,
    params: Sequence[nn.Parameter],
    slots: Sequence[Tensor],
    factor: float,
    keep: bool,
) -> None:
    """Add ``factor`` times the gradient of a scalar to vectors.

    Args:
        value (Tensor): Scalar. One without graph adds nothing.
        params (Sequence[Parameter]): With respect to these; those that are not in the graph have
            a gradient of 0.
        slots (Sequence[Tensor]): One vector for each parameter.
        factor (float): Applied in the precision of the vectors.
        keep (bool): Whether the graph is needed again.
    """
    if not value.requires_grad:
        return
    found = torch.autograd.grad(value, params, retain_graph=keep, allow_unused=True)
    for grad, slot in zip(found, slots):
        if grad is not None:
            slot.add_(grad.reshape(-1).to(slot.dtype), alpha=factor)
