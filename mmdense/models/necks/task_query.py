"""Task query of DeMT: every task asks the maps of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mmdense.models.layers import TokenAttention, TokenMLP, to_map, to_tokens
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures

from .task_attention import TaskAttentionNeck, norm_or_identity
from .task_features import task_maps


class QueryBlock(nn.Module):
    """Attention of one task and its small MLP, with a residual.

    Children: ``query_norm`` and ``key_norm`` (if ``pre_norm``), ``attention``, ``smlp``.

    Args:
        channels (int): C.
        num_heads (int): Attention heads.
        pre_norm (bool): Layer norms ahead of the projections.
    """

    def __init__(self, channels: int, num_heads: int, pre_norm: bool) -> None:
        super().__init__()
        self.query_norm = norm_or_identity(channels, pre_norm)
        self.key_norm = norm_or_identity(channels, pre_norm)
        self.attention = TokenAttention(channels, num_heads)
        self.smlp = TokenMLP(channels)

    def over_tokens(self, tokens: Tensor, keys: Tensor) -> Tensor:
        """Tokens ``(B, N, C)`` over keys ``(B, S, C)``."""
        mixed = self.attention.over_tokens(self.query_norm(tokens), self.key_norm(keys))
        return tokens + self.smlp(mixed)

    def over_pixel(self, tokens: Tensor, keys: Tensor) -> Tensor:
        """Tokens ``(B, N, C)`` over the keys ``(T, B, N, C)`` of the same picture and pixel."""
        mixed = self.attention.over_first(
            self.query_norm(tokens).flatten(0, 1)[None], self.key_norm(keys).flatten(1, 2)
        )
        return tokens + self.smlp(mixed[0].view_as(tokens))

    def over_batch(self, tokens: Tensor, keys: Tensor) -> Tensor:
        """Tokens ``(B, N, C)`` over the keys ``(T, B, N, C)`` of all pictures at the same pixel."""
        mixed = self.attention.over_first(
            self.query_norm(tokens), self.key_norm(keys).flatten(0, 1)
        )
        return tokens + self.smlp(mixed)


@MODELS.register_module()
class TaskQuery(TaskAttentionNeck):
    """Every task attends over the tokens of all tasks; attention and small MLP per task.

    Eqs. (10)-(12) of Xu et al., "DeMT: Deformable Mixer Transformer for Multi-Task Learning of
    Dense Prediction" (AAAI 2023), with keys and values pooled. Queries are the maps of the
    mixers, which are also the residual; keys and values come from task interaction. Behind a
    neck that gives every task one map, that map is both.

    The released code attends over all pictures and tasks at one pixel, never over positions
    (``attention='released'``); for one picture that is ``'pixel'``.

    Children: ``queries.<task>``.

    Args:
        channels (int): C, in and out.
        tasks (Sequence[str]): Task names; injected by the model.
        num_heads (int): Attention heads. Defaults to 4.
        attention (str): ``'token'`` (paper; the default), ``'pixel'`` or ``'released'``; the
            last mixes the pictures of a batch and warns.
        kv_stride, kv_grid, with_cp: As in
            :class:`~mmdense.models.necks.task_attention.TaskAttentionNeck`.
        pre_norm (bool): Layer norms ahead of the projections (paper). Defaults to True.
        key_index (int): Which map of a task gives keys and values. Defaults to 0.
        query_index (int): Which map of a task asks. Defaults to -1, the last.

    Shape:
        - in: maps ``key_index`` and ``query_index`` of each task, ``(B, C, h, w)``.
        - ``feats.per_task`` out: ``(B, C, h, w)`` for every task.

    Raises:
        ValueError: If an option is unknown, out of range, or without effect.
        ShapeError: If maps have not C channels, or differ in size.
    """

    def __init__(
        self,
        channels: int,
        tasks: Sequence[str],
        num_heads: int = 4,
        attention: str = 'token',
        kv_stride: int | None = None,
        kv_grid: tuple[int, int] | None = None,
        pre_norm: bool = True,
        key_index: int = 0,
        query_index: int = -1,
        with_cp: bool = False,
    ) -> None:
        super().__init__(channels, tasks, attention, kv_stride, kv_grid, with_cp)
        self.key_index, self.query_index = key_index, query_index
        self.queries = nn.ModuleDict(
            {task: QueryBlock(channels, num_heads, pre_norm) for task in self.tasks}
        )

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        asking = task_maps('TaskQuery', feats, self.tasks, self.channels, self.query_index)
        asked = task_maps('TaskQuery', feats, self.tasks, self.channels, self.key_index)
        self.warn_of_batch(asking[0].shape[0])
        if self.attention_over == 'token':
            keys = torch.cat([to_tokens(self.pool(x)) for x in asked], dim=1)
        else:
            keys = torch.stack([to_tokens(x) for x in asked])
        out = {}
        for task, x in zip(self.tasks, asking):
            tokens = self.run(self._method(task), to_tokens(x), keys)
            out[task] = to_map(tokens, (x.shape[-2], x.shape[-1]))
        return feats.replace(per_task={**feats.per_task, **out})

    def _method(self, task: str) -> Callable[..., Tensor]:
        names = {'token': 'over_tokens', 'pixel': 'over_pixel', 'released': 'over_batch'}
        method: Callable[..., Tensor] = getattr(self.queries[task], names[self.attention_over])
        return method
