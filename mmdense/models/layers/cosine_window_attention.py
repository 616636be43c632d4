"""Scaled cosine attention inside windows, with a position bias learned over log-spaced offsets."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .precision import at_least_float32, full_precision

# Offsets are stretched to [-8, 8] ahead of the logarithm, and the logarithm of 8 is the unit.
_STRETCH = 8.0
_MAX_LOGIT_SCALE = math.log(100.0)
_MAX_POSITION_BIAS = 16.0


def log_spaced_offsets(window_size: int, pretrained_window_size: int | None = None) -> Tensor:
    """Offsets between two positions of a window, small ones finely and large ones coarsely spaced.

    Swin V2, eq. (4): ``sign(o) * log2(1 + |o|) / log2(8)`` with the offset ``o`` scaled to [-8, 8]
    over the window that the weights were trained with.

    Args:
        window_size (int): Side w of the window.
        pretrained_window_size (int | None): Side that the weights were trained with. None: w.

    Returns:
        Tensor: ``((2w - 1) ** 2, 2)``, row and column offset from ``1 - w`` to ``w - 1``, row by
        row.
    """
    reach = max((pretrained_window_size or window_size) - 1, 1)
    offsets = torch.arange(1 - window_size, window_size, dtype=torch.float32) * (_STRETCH / reach)
    spaced = offsets.sign() * torch.log2(1 + offsets.abs()) / math.log2(_STRETCH)
    return torch.cartesian_prod(spaced, spaced)


def offset_index(window_size: int) -> Tensor:
    """Row of :func:`log_spaced_offsets` for each query and key of a window: ``(w * w, w * w)``."""
    line = torch.arange(window_size)
    positions = torch.cartesian_prod(line, line)
    row, column = (positions[:, None] - positions[None] + window_size - 1).unbind(-1)
    return row * (2 * window_size - 1) + column


def unit_vectors(x: Tensor) -> Tensor:
    """``x / max(|x|, 1e-12)`` along the last axis, whose gradient at a zero vector is zero.

    Keys of padding are zero vectors: the division's own gradient there, 1e12, overflows half
    precision.
    """
    squared = x.square().sum(-1, keepdim=True)
    inverse = torch.where(squared > 0, squared.clamp_min(1e-24).rsqrt(), 0.0)
    return x * inverse


class CosineWindowAttention(nn.Module):
    """Multi-head attention of Swin V2 over the tokens of a window.

    Liu et al., "Swin Transformer V2: Scaling Up Capacity and Resolution" (CVPR 2022), section
    3.2 and 3.3: ``softmax(cos(q, k) / tau + bias)`` with one learned temperature per head, no
    lower than 0.01, and a bias per pair of positions, ``16 * sigmoid`` of a small network over
    their log-spaced offset. Queries and values have a bias, keys none.

    Parameters: ``logit_scale`` ``(heads, 1, 1)``, the logarithm of ``1 / tau``; ``qkv``, whose
    bias has the layout query, key, value and a key part that is not used; ``cpb_mlp.0``,
    ``cpb_mlp.2``; ``proj``. Names and shapes are those of torchvision.

    Args:
        channels (int): C, a multiple of ``num_heads``.
        num_heads (int): Attention heads.
        window_size (int): Side w of the windows; N = w * w.
        pretrained_window_size (int | None): Side that the weights were trained with, where it
            was another; offsets are measured by it. None: w. Defaults to None.
        hidden_channels (int): Width of the position network. Defaults to 512.

    Shape:
        - windows: ``(B, M, N, C)``, M windows per picture, tokens row by row.
        - exclusion: ``(M, N, N)`` or None; added to the scores of each query (second axis) and key.
        - output: as ``windows``.

    Raises:
        ValueError: If the heads do not divide the channels.
    """

    offsets: Tensor
    index: Tensor

    def __init__(
        self,
        channels: int,
        num_heads: int,
        window_size: int,
        pretrained_window_size: int | None = None,
        hidden_channels: int = 512,
    ) -> None:
        super().__init__()
        if num_heads < 1 or channels % num_heads:
            raise ValueError(
                f'CosineWindowAttention: num_heads={num_heads} does not divide '
                f'channels={channels}; choose a divisor.'
            )
        self.num_heads = num_heads
        self.window_size = window_size
        self.pretrained_window_size = pretrained_window_size
        self.logit_scale = nn.Parameter(torch.empty(num_heads, 1, 1))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.cpb_mlp = nn.Sequential(
            nn.Linear(2, hidden_channels),
            nn.ReLU(inplace=True),
            nn.Linear(hidden_channels, num_heads, bias=False),
        )
        tokens, rows = window_size**2, (2 * window_size - 1) ** 2
        self.register_buffer('offsets', torch.empty(rows, 2), persistent=False)
        self.register_buffer(
            'index', torch.empty(tokens, tokens, dtype=torch.long), persistent=False
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """A temperature of 0.1, and the constants of the window."""
        nn.init.constant_(self.logit_scale, math.log(10.0))
        self.offsets.copy_(log_spaced_offsets(self.window_size, self.pretrained_window_size))
        self.index.copy_(offset_index(self.window_size))

    def position_bias(self) -> Tensor:
        """What is added to the scores of a query and a key, ``(heads, N, N)``, in (0, 16)."""
        with full_precision(self.offsets):
            table = self.cpb_mlp(self.offsets).sigmoid() * _MAX_POSITION_BIAS
            return table.t()[:, self.index]

    def forward(self, windows: Tensor, exclusion: Tensor | None = None) -> Tensor:
        size = windows.shape[:3]
        # (3, B, M, heads, N, C / heads)
        parts = F.linear(windows, self.qkv.weight, self._qkv_bias())
        q, k, v = parts.unflatten(-1, (3, self.num_heads, -1)).permute(3, 0, 1, 4, 2, 5)
        with full_precision(windows):
            scale = at_least_float32(self.logit_scale).clamp(max=_MAX_LOGIT_SCALE).exp()
            q = unit_vectors(at_least_float32(q)) * scale
            k = unit_vectors(at_least_float32(k))
        bias = self.position_bias()
        # The bias is one for all windows, or, with an exclusion, one for all pictures: what
        # differs stands beside the heads, the rest is broadcast and takes no memory.
        first = 0 if exclusion is None else 1
        if exclusion is not None:
            bias = (bias + exclusion[:, None]).flatten(0, 1)
        q, k, v = (t.flatten(first, first + 1).to(v.dtype) for t in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, bias[None].to(v.dtype), scale=1.0)
        mixed = mixed.unflatten(first, (size[first], -1))
        return self.proj(mixed.transpose(2, 3).flatten(3))

    def _qkv_bias(self) -> Tensor:
        query, key, value = self.qkv.bias.chunk(3)
        return torch.cat([query, torch.zeros_like(key), value])

    def extra_repr(self) -> str:
        return f'num_heads={self.num_heads}, window_size={self.window_size}'
