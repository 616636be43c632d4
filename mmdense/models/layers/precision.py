"""Islands of full precision inside autocast."""

from __future__ import annotations

from torch import Tensor, nn

from mmdense.models.losses.functional import at_least_float32, full_precision

__all__ = ['as_parameters_of', 'at_least_float32', 'full_precision']


def as_parameters_of(module: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor:
    """``x`` in the dtype of the weight of ``module``: float32 but in a model cast as a whole."""
    return x.to(module.weight.dtype)
