"""Islands of full precision inside autocast."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` in float32, or unchanged if it is wider."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def full_precision(x: Tensor) -> torch.autocast:
    """A context without autocast on the device of ``x``.

    Inputs must be widened with :func:`at_least_float32` inside it.
    """
    return torch.autocast(device_type=x.device.type, enabled=False)


def as_parameters_of(module: nn.Module, x: Tensor) -> Tensor:
    """``x`` in the dtype of the weight of ``module``: float32 but in a model cast as a whole."""
    return x.to(module.weight.dtype)
