"""Weight initialisation of the mask-transformer networks (truncated normal family)."""

from __future__ import annotations

import math

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

# Standard deviation of a unit normal cut at +-2; dividing by it gives the cut
# distribution the standard deviation that was asked for.
_STD_OF_UNIT_NORMAL_CUT_AT_2 = 0.87962566103423978


def trunc_normal_(tensor: Tensor, std: float) -> Tensor:
    """Fill with a normal of parameter ``std`` cut at two ``std``; returns ``tensor``."""
    return nn.init.trunc_normal_(tensor, std=std, a=-2 * std, b=2 * std)


def he_trunc_normal_(weight: Tensor) -> Tensor:
    """Fill with a truncated normal whose standard deviation is ``sqrt(2 / fan_in)``.

    The fan-in counts the kernel area (``in_channels / groups * kh * kw``), and the loss of
    variance by the truncation is made up for, so the stated deviation is the real one.
    """
    fan_in = weight[0].numel()
    return trunc_normal_(weight, math.sqrt(2.0 / fan_in) / _STD_OF_UNIT_NORMAL_CUT_AT_2)


def reset_tree(module: nn.Module) -> None:
    """Call ``reset_parameters`` of every submodule that has one, children before parents.

    A parent may so overrule the defaults of the torch layers it is made of.
    """
    for child in reversed(list(module.modules())):
        reset = getattr(child, 'reset_parameters', None)
        if callable(reset):
            reset()


class ConstructorInitModule(BaseModule):
    """A ``BaseModule`` whose constructor leaves it initialised.

    ``init_weights``, which the runner calls, then changes nothing (weights loaded by hand
    before it survive), unless the constructor ran on the meta device: there it initialises
    the materialised tensors.

    Args:
        init_cfg (dict | list[dict] | None): As for ``BaseModule``; applied on top.
    """

    def __init__(self, init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg)
        self._built_on_meta = torch.empty(0).is_meta

    def init_weights(self) -> None:
        if self._built_on_meta and not self.is_init:
            reset_tree(self)
        super().init_weights()
