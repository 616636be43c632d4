"""Attention across tasks that hands its scores on to the next, finer scale."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdense.models.losses.functional import resize

from .precision import at_least_float32


def mixed_score_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    mix: Tensor | None = None,
    bias: Tensor | None = None,
    need_scores: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """Multi-head attention whose scores are mixed over the heads and added to before the softmax.

    ``scores[g] = sum over h of mix[g, h] * scale * query[h] key[h]^T + bias[g]``. The sum over h is
    computed as one product of all heads side by side, so that scores which are not yet mixed are
    never stored; where nobody needs the mixed ones, PyTorch's fused attention takes over.

    Args:
        query (Tensor): ``(B, H, Q, C)``.
        key (Tensor): ``(B, H, K, C)``.
        value (Tensor): ``(B, H, K, D)``.
        scale (float): Factor on the products.
        mix (Tensor | None): ``(H, H)``. None: heads are not mixed.
        bias (Tensor | None): ``(B, H, Q, K)``, added after the mixing.
        need_scores (bool): Whether the scores are returned.

    Returns:
        tuple: ``(B, H, Q, D)``, and the scores ``(B, H, Q, K)`` before the softmax, or None.
    """
    if mix is not None:
        # (B, g, Q, h, C): one query per mixed head, as wide as all heads together.
        query = torch.einsum('gh,bhqc->bgqhc', mix.to(query.dtype), query).flatten(3)
        key = key.transpose(1, 2).flatten(2)[:, None].expand(-1, query.shape[1], -1, -1)
    if not need_scores:
        mask = None if bias is None else bias.to(query.dtype)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
        return mixed, None
    if bias is None:
        scores = (query * scale) @ key.transpose(-1, -2)
    else:
        parts = [part.flatten(0, 1) for part in (bias, query, key.transpose(-1, -2))]
        scores = torch.baddbmm(*parts, alpha=scale).unflatten(0, query.shape[:2])
    weights = at_least_float32(scores).softmax(dim=-1)
    return weights.to(value.dtype) @ value, scores


class MessagePassingAttention(nn.Module):
    """Attention over all tasks and positions, and message passing of its scores across scales.

    Ye and Xu, "Inverted Pyramid Multi-Task Transformer for Dense Scene Understanding" (InvPT,
    ECCV 2022). Queries are made per task by a depthwise 3x3 convolution of stride 2 and a batch
    norm, keys and values by averaging over cells; linear maps follow, shared by the tasks. The
    scores before the softmax are mixed with those of the previous, coarser scale by a 1x1
    convolution over the heads of both. The scale of the scores is that of the full width, not of
    a head (InvPT's code).

    The convolution is linear, so it acts on the coarse scores before they are upsampled, and the
    two sets are never stacked. Its bias shifts all scores of a query alike and cancels in the
    softmax; it is kept as part of the published definition.

    Args:
        channels (int): C.
        tasks (Sequence[str]): Task names, in the order of their tokens.
        num_heads (int): H. Defaults to 2.
        kv_stride (int): Side of the cells that keys and values are averaged over; cells at the
            border are smaller. Defaults to 2.
        receives (bool): Whether there are scores of a previous scale.
        sends (bool): Whether the scores are needed by a next scale.

    Shape:
        - tokens: ``(B, T * h * w, C)``, task by task, row by row.
        - scores: ``(B, H, T * ceil(h / 2) * ceil(w / 2), T * ceil(h / s) * ceil(w / s))``.
        - output: ``(B, T * ceil(h / 2) * ceil(w / 2), C)`` and the scores (None unless ``sends``).

    Raises:
        ValueError: If the heads do not divide the channels.
    """

    def __init__(
        self,
        channels: int,
        tasks: Sequence[str],
        num_heads: int = 2,
        kv_stride: int = 2,
        receives: bool = False,
        sends: bool = False,
    ) -> None:
        super().__init__()
        if num_heads < 1 or channels % num_heads:
            raise ValueError(
                f'MessagePassingAttention: num_heads={num_heads} does not divide '
                f'channels={channels}; choose a divisor.'
            )
        self.num_tasks = len(tasks)
        self.num_heads = num_heads
        self.kv_stride = kv_stride
        self.sends = sends
        self.scale = channels**-0.5
        self.queries = nn.ModuleDict(
            {
                task: nn.Sequential(
                    nn.Conv2d(channels, channels, 3, 2, 1, groups=channels, bias=False),
                    nn.BatchNorm2d(channels),
                )
                for task in tasks
            }
        )
        self.proj_q = nn.Linear(channels, channels)
        self.proj_k = nn.Linear(channels, channels)
        self.proj_v = nn.Linear(channels, channels)
        self.proj = nn.Linear(channels, channels)
        self.fuse = nn.Conv2d(2 * num_heads, num_heads, 1) if receives else None

    def forward(
        self,
        tokens: Tensor,
        size: tuple[int, int],
        previous: Tensor | None = None,
        previous_size: tuple[int, int] = (1, 1),
    ) -> tuple[Tensor, Tensor | None]:
        """Attend.

        Args:
            tokens (Tensor): Normalised tokens of all tasks.
            size (tuple[int, int]): h and w.
            previous (Tensor | None): Scores of the previous scale; needed if ``receives``.
            previous_size (tuple[int, int]): Rows and columns of its queries.
        """
        maps = tokens.unflatten(1, (self.num_tasks, -1)).transpose(2, 3).unflatten(3, size)
        queries = torch.stack([q(maps[:, t]) for t, q in enumerate(self.queries.values())], dim=1)
        cells = F.avg_pool2d(
            maps.flatten(0, 1), self.kv_stride, ceil_mode=True, count_include_pad=False
        ).unflatten(0, (-1, self.num_tasks))
        pooled = _to_tokens(cells)
        mix = bias = None
        if self.fuse is not None and previous is not None:
            query_size = (queries.shape[-2], queries.shape[-1])
            kernel = self.fuse.weight[:, :, 0, 0]
            mix = kernel[:, : self.num_heads]
            bias = F.conv2d(previous, kernel[:, self.num_heads :, None, None], self.fuse.bias)
            bias = _upsample_queries(bias, self.num_tasks, previous_size, query_size)
        out, scores = mixed_score_attention(
            self._heads(self.proj_q(_to_tokens(queries))),
            self._heads(self.proj_k(pooled)),
            self._heads(self.proj_v(pooled)),
            self.scale,
            mix,
            bias,
            need_scores=self.sends,
        )
        return self.proj(out.transpose(1, 2).flatten(2)), scores

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def _to_tokens(maps: Tensor) -> Tensor:
    """``(B, T, C, h, w)`` to ``(B, T * h * w, C)``."""
    return maps.flatten(3).transpose(2, 3).flatten(1, 2)


def _upsample_queries(
    scores: Tensor, num_tasks: int, size: tuple[int, int], new_size: tuple[int, int]
) -> Tensor:
    """Resize scores ``(B, H, T * h * w, K)`` bilinearly over the queries of each task."""
    batch, heads, _, keys = scores.shape
    maps = scores.reshape(batch * heads * num_tasks, *size, keys).permute(0, 3, 1, 2)
    larger = resize(maps, new_size, align_corners=False).permute(0, 2, 3, 1)
    return larger.reshape(batch, heads, -1, keys).to(scores.dtype)
