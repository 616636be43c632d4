"""Task interaction of DeMT: attention among the maps of all tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mmdense.models.layers import TokenAttention, TokenMLP, to_map, to_tokens
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures

from .task_attention import TaskAttentionNeck, norm_or_identity
from .task_features import task_maps


@MODELS.register_module()
class TaskInteraction(TaskAttentionNeck):
    """Self-attention over the tokens of all tasks, then a small MLP; shared by the tasks.

    Eqs. (7)-(9) of Xu et al., "DeMT: Deformable Mixer Transformer for Multi-Task Learning of
    Dense Prediction" (AAAI 2023), with keys and values pooled as in PVT (Wang et al., ICCV
    2021). No residual. The released code hands ``(B, tokens, C)`` to a module that expects
    ``(tokens, B, C)`` and so attends over the batch; for one picture that is the affine map
    of ``attention='pixel'``, which has no interaction in it. Its query and key projections
    are kept there, with a gradient of exactly 0.

    Children: ``norm`` (if ``pre_norm``), ``attention``, ``smlp``.

    Args:
        channels (int): C, in and out.
        tasks (Sequence[str]): Task names; injected by the model.
        num_heads (int): Attention heads. Defaults to 4.
        attention (str): ``'token'`` (paper; the default), ``'pixel'`` or ``'released'``; the
            last mixes the pictures of a batch and warns.
        kv_stride, kv_grid, with_cp: As in
            :class:`~mmdense.models.necks.task_attention.TaskAttentionNeck`. ``kv_stride=1`` is
            the paper to the letter.
        pre_norm (bool): Layer norm ahead of the projections (paper). Defaults to True.
        in_index (int): Which map of a task to read. Defaults to 0.

    Shape:
        - in: map ``in_index`` of each task, ``(B, C, h, w)``.
        - ``feats.per_task`` out: for every task the result ``(B, C, h, w)`` followed by the
          map it was made of, which :class:`TaskQuery` asks its questions with.

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
        in_index: int = 0,
        with_cp: bool = False,
    ) -> None:
        super().__init__(channels, tasks, attention, kv_stride, kv_grid, with_cp)
        self.in_index = in_index
        self.norm = norm_or_identity(channels, pre_norm)
        self.attention = TokenAttention(channels, num_heads)
        self.smlp = TokenMLP(channels)

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        maps = task_maps('TaskInteraction', feats, self.tasks, self.channels, self.in_index)
        self.warn_of_batch(maps[0].shape[0])
        attend: dict[str, Callable[..., Tensor]] = dict(
            token=self._over_tokens, pixel=self._alone, released=self._over_batch
        )
        keys = []
        if self.attention_over == 'token':
            pooled = torch.cat([to_tokens(self.pool(x)) for x in maps], dim=1)
            keys = [self.norm(pooled)]
        size = (maps[0].shape[-2], maps[0].shape[-1])
        out = {}
        # Task by task: the tokens of one do not depend on the queries of another.
        for task, x in zip(self.tasks, maps):
            tokens = self.run(attend[self.attention_over], to_tokens(x), *keys)
            out[task] = (to_map(tokens, size), x)
        return feats.replace(per_task={**feats.per_task, **out})

    def _over_tokens(self, tokens: Tensor, keys: Tensor) -> Tensor:
        return self.smlp(self.attention.over_tokens(self.norm(tokens), keys))

    def _alone(self, tokens: Tensor) -> Tensor:
        return self.smlp(self.attention.of_itself(self.norm(tokens)))

    def _over_batch(self, tokens: Tensor) -> Tensor:
        tokens = self.norm(tokens)
        return self.smlp(self.attention.over_first(tokens, tokens))
