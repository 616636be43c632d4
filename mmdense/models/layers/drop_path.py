"""Stochastic depth."""

from __future__ import annotations

from torch import Tensor, nn


class DropPath(nn.Module):
    """Drop a residual branch for whole samples while training (Huang et al., ECCV 2016).

    The mask is drawn as Bernoulli numbers. The common ``floor(keep + rand)`` is biased in
    bfloat16, where the sum is rounded to seven bits before the floor.

    Args:
        drop_prob (float): Probability that a sample loses the branch, in [0, 1).

    Raises:
        ValueError: If ``drop_prob`` is outside [0, 1).
    """

    def __init__(self, drop_prob: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= drop_prob < 1.0:
            raise ValueError(f'DropPath: drop_prob={drop_prob}, expected a value in [0, 1).')
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.drop_prob == 0.0:
            return x
        keep = 1.0 - self.drop_prob
        mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)
        return x * mask.div_(keep)

    def extra_repr(self) -> str:
        return f'drop_prob={self.drop_prob:g}'
