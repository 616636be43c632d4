"""Multi-head attention whose sequence axis is named by the method that is called."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TokenAttention(nn.Module):
    """Multi-head attention with packed projections and no layout of its own.

    Parameters, names and initialisation are those of ``nn.MultiheadAttention`` (so its
    checkpoints load), but which axis is attended over is the choice of the caller:
    :meth:`over_tokens` for the tokens of one picture, :meth:`over_first` for the first axis
    with every other position on its own, :meth:`of_itself` for a sequence of one element.

    Parameters: ``in_proj_weight`` (3C, C) and ``in_proj_bias`` (3C) in the order query, key,
    value; ``out_proj``.

    Args:
        channels (int): C, a multiple of ``num_heads``.
        num_heads (int): Attention heads. Defaults to 4.

    Raises:
        ValueError: If the heads do not divide the channels.
    """

    def __init__(self, channels: int, num_heads: int = 4) -> None:
        super().__init__()
        if num_heads < 1 or channels % num_heads:
            raise ValueError(
                f'TokenAttention: num_heads={num_heads} does not divide channels={channels}; '
                'choose a divisor.'
            )
        self.channels = channels
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise as ``nn.MultiheadAttention`` does."""
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.in_proj_bias)
        nn.init.zeros_(self.out_proj.bias)

    def over_tokens(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Each query attends over all keys of its picture.

        Uses the fused kernel where there is one, so that no score matrix is stored.

        Args:
            queries (Tensor): ``(B, L, C)``.
            keys (Tensor): ``(B, S, C)``, keys and values alike.

        Returns:
            Tensor: ``(B, L, C)``.
        """
        q = self._heads(self._project(queries, 0, 1)).transpose(1, 2)
        k, v = (
            self._heads(part).transpose(1, 2) for part in self._project(keys, 1, 3).chunk(2, dim=-1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def over_first(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Each query attends over the first axis of the keys, at its own position.

        Args:
            queries (Tensor): ``(L, M, C)``.
            keys (Tensor): ``(S, M, C)``, keys and values alike.

        Returns:
            Tensor: ``(L, M, C)``.
        """
        q = self._heads(self._project(queries, 0, 1))
        k, v = (self._heads(part) for part in self._project(keys, 1, 3).chunk(2, dim=-1))
        scores = torch.einsum('lmhd,smhd->mhls', q * q.shape[-1] ** -0.5, k)
        mixed = torch.einsum('mhls,smhd->lmhd', scores.softmax(dim=-1), v)
        return self.out_proj(mixed.flatten(2))

    def of_itself(self, tokens: Tensor) -> Tensor:
        """Attention over a sequence of one: the affine map ``W_o (W_v x + b_v) + b_o``.

        The softmax over a single element is 1, so queries and keys do not matter; their
        part of ``in_proj_weight`` and ``in_proj_bias`` has a gradient of exactly 0.

        Args:
            tokens (Tensor): ``(..., C)``.
        """
        return self.out_proj(self._project(tokens, 2, 3))

    def _project(self, x: Tensor, first: int, last: int) -> Tensor:
        """Projections ``first`` to ``last - 1`` of query, key, value, side by side."""
        rows = slice(first * self.channels, last * self.channels)
        return F.linear(x, self.in_proj_weight[rows], self.in_proj_bias[rows])

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1))

    def extra_repr(self) -> str:
        return f'channels={self.channels}, num_heads={self.num_heads}'


class TokenMLP(nn.Sequential):
    """The small MLP of DeMT: linear C to C, then layer norm. Children ``0`` and ``1``."""

    def __init__(self, channels: int) -> None:
        super().__init__(nn.Linear(channels, channels), nn.LayerNorm(channels))


def to_tokens(maps: Tensor) -> Tensor:
    """``(B, C, h, w)`` to ``(B, h * w, C)``, row by row."""
    return maps.flatten(2).transpose(1, 2)


def to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """``(B, h * w, C)`` to ``(B, C, h, w)``."""
    return tokens.transpose(1, 2).unflatten(2, size)
