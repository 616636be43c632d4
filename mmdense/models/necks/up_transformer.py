"""The UP-Transformer of InvPT: attention across tasks at rising resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdense.models.layers import MessagePassingAttention, conv_norm_relu
from mmdense.models.losses.functional import resize
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.utils import ShapeError

from .task_features import check_channels, check_tasks, task_maps

Size = tuple[int, int]


class UPStage(nn.Module):
    """One scale: upsampling per task, the encoder's skip, and a transformer block.

    Args:
        in_channels (int): Channels of the previous scale.
        channels (int): Channels of this one.
        tasks (Sequence[str]): Task names.
        num_heads (int): Attention heads.
        kv_stride (int): As in :class:`MessagePassingAttention`.
        first (bool): Whether this is the coarsest scale, which is not upsampled and receives no
            scores.
        last (bool): Whether this is the finest scale, whose scores nobody needs.
        mlp_ratio (int): Hidden width of the MLP in multiples of ``channels``.

    Shape:
        - maps: one ``(B, in_channels, h, w)`` per task.
        - tokens out: ``(B, T * h' * w', channels)``, with ``h' = h`` if ``first``, else ``2 h``.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        tasks: Sequence[str],
        num_heads: int,
        kv_stride: int,
        first: bool,
        last: bool,
        mlp_ratio: int,
    ) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.up: nn.ModuleDict | None = None
        if not first:
            self.up = nn.ModuleDict(
                {
                    task: nn.Sequential(
                        conv_norm_relu(in_channels, channels, 3, dilation=2),
                        conv_norm_relu(channels, channels, 3, dilation=2),
                    )
                    for task in tasks
                }
            )
        self.norm1 = nn.LayerNorm(channels)
        self.attention = MessagePassingAttention(
            channels, tasks, num_heads, kv_stride, receives=not first, sends=not last
        )
        self.norm2 = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, mlp_ratio * channels)
        self.fc2 = nn.Linear(mlp_ratio * channels, channels)

    def embed(self, maps: Sequence[Tensor], skip: Tensor | None) -> tuple[Tensor, Size]:
        """Maps of the previous scale to the tokens of this one, and its rows and columns."""
        if self.up is not None:
            height, width = maps[0].shape[-2:]
            larger = [resize(x, (2 * height, 2 * width), False).to(x.dtype) for x in maps]
            maps = [self.up[task](x) for task, x in zip(self.tasks, larger)]
        if skip is not None:
            maps = [x + skip for x in maps]
        size = (maps[0].shape[-2], maps[0].shape[-1])
        tokens = torch.cat([x.flatten(2) for x in maps], dim=2).transpose(1, 2)
        return tokens, size

    def forward(
        self,
        maps: Sequence[Tensor],
        skip: Tensor | None = None,
        scores: Tensor | None = None,
        scores_size: Size = (1, 1),
    ) -> tuple[Tensor, Size, Tensor | None]:
        """Run the scale.

        Returns:
            tuple: Tokens, their rows and columns per task, and the scores for the next scale.
        """
        x, size = self.embed(maps, skip)
        mixed, scores = self.attention(self.norm1(x), size, scores, scores_size)
        coarse = tokens_to_maps(mixed, len(self.tasks), halved(size))
        enlarged = resize(coarse.flatten(0, 1), size, False).to(x.dtype)
        x = x + enlarged.unflatten(0, coarse.shape[:2]).flatten(3).transpose(2, 3).flatten(1, 2)
        x = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return x, size, scores


@MODELS.register_module()
class UPTransformer(nn.Module):
    """Three scales of attention across tasks with message passing, aggregated per task.

    Ye and Xu, "Inverted Pyramid Multi-Task Transformer for Dense Scene Understanding" (InvPT,
    ECCV 2022). Each scale doubles the resolution and halves the width. Its queries, at half its
    resolution, attend over the averaged keys and values of all tasks, on one grid in every
    scale, so that scores can be handed on to the next scale. The tokens of all scales are
    normalised over the channels of all tasks, brought to one width and to twice the finest grid,
    and summed.

    Only layers that are used exist; InvPT's code registers a third skip, reductions and a score
    fusion for the first scale, and a norm, that never get a gradient. Drop path, which is 0 in
    its decoder, is left out. Where sizes are odd, cells of the keys are smaller at the border,
    and skips and scores are resized to the grid that they meet.

    Args:
        tasks (Sequence[str]): Task names; injected by the model.
        channels (int): Width of the task maps that are read, and of the result. Defaults to 576.
        skip_channels (Sequence[int]): Channels of the shared maps that are added in scales 1, 2,
            ...; one less than there are scales.
        skip_index (Sequence[int]): Which shared maps. Defaults to (1, 0).
        skip_strides (Sequence[int]): Their strides; a 3x3 convolution where it is that of the
            scale, a transposed one where it is twice that. Defaults to (16, 16), a ViT.
        stride (int): Stride of the task maps that are read. Defaults to 32.
        num_heads (int): Attention heads. Defaults to 2.
        mlp_ratio (int): Hidden width of the MLP in multiples of the width. Defaults to 4.

    Shape:
        - ``feats.per_task`` in: ``(B, channels, h, w)``.
        - ``feats.shared[skip_index[i]]``: ``(B, skip_channels[i], H_i, W_i)``.
        - ``feats.per_task`` out: ``(B, channels, 2^S h, 2^S w)`` with S scales.

    Raises:
        ValueError: If an option is out of range, or a skip has neither the stride of its scale
            nor twice that.
        ShapeError: If a map has other channels, or is missing.
    """

    takes_features = True
    takes_tasks = True

    def __init__(
        self,
        tasks: Sequence[str],
        skip_channels: Sequence[int],
        channels: int = 576,
        skip_index: Sequence[int] = (1, 0),
        skip_strides: Sequence[int] = (16, 16),
        stride: int = 32,
        num_heads: int = 2,
        mlp_ratio: int = 4,
    ) -> None:
        super().__init__()
        self.tasks = check_tasks('UPTransformer', tasks)
        if not len(skip_channels) == len(skip_index) == len(skip_strides):
            raise ValueError(
                f'UPTransformer: skip_channels={tuple(skip_channels)}, skip_index='
                f'{tuple(skip_index)}, skip_strides={tuple(skip_strides)}; give one entry per '
                'scale behind the first in each of them.'
            )
        scales = len(skip_channels) + 1
        if channels % (num_heads * 2 ** (scales - 1)):
            raise ValueError(
                f'UPTransformer: channels={channels} cannot be halved {scales - 1} times and split '
                f'into {num_heads} heads; choose a multiple of {num_heads * 2 ** (scales - 1)}.'
            )
        self.channels = channels
        self.skip_channels = tuple(skip_channels)
        self.skip_index = tuple(skip_index)
        widths = [channels // 2**i for i in range(scales)]
        self.skips = nn.ModuleList(
            _skip(i, width, skip, own, stride // 2**i)
            for i, (width, skip, own) in enumerate(
                zip(widths[1:], skip_channels, skip_strides), start=1
            )
        )
        self.stages = nn.ModuleList(
            UPStage(
                widths[max(i - 1, 0)],
                width,
                self.tasks,
                num_heads,
                kv_stride=2 * 2**i,
                first=i == 0,
                last=i == scales - 1,
                mlp_ratio=mlp_ratio,
            )
            for i, width in enumerate(widths)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(len(self.tasks) * width) for width in widths)
        self.reductions = nn.ModuleList(
            nn.ModuleDict({task: nn.Conv2d(width, channels, 1) for task in self.tasks})
            for width in widths[1:]
        )
        self.outputs = nn.ModuleDict(
            {task: conv_norm_relu(channels, channels, 3) for task in self.tasks}
        )

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        maps = task_maps('UPTransformer', feats, self.tasks, self.channels)
        scores, size = None, (1, 1)
        scales: list[Tensor] = []
        for i, stage in enumerate(self.stages):
            skip = self._skip_map(feats, i - 1, maps[0]) if i else None
            tokens, own_size, scores = stage(maps, skip, scores, halved(size))
            size = own_size
            scales.append(tokens)
            maps = list(tokens_to_maps(tokens, len(self.tasks), size).unbind(1))
        return feats.replace(per_task={**feats.per_task, **self._aggregate(scales, size)})

    def _skip_map(self, feats: DenseFeatures, i: int, coarse: Tensor) -> Tensor:
        """What the encoder adds to scale ``i + 1``, at the size of that."""
        index = self.skip_index[i]
        if not -len(feats.shared) <= index < len(feats.shared):
            raise ShapeError(
                f'UPTransformer.skip_index names map {index}, but there are {len(feats.shared)} '
                'shared maps. Change the index or the backbone.'
            )
        check_channels('UPTransformer', feats.shared[index], self.skip_channels[i])
        skip = self.skips[i](feats.shared[index])
        size = (2 * coarse.shape[-2], 2 * coarse.shape[-1])
        return resize(skip, size, align_corners=False).to(skip.dtype)

    def _aggregate(self, scales: Sequence[Tensor], size: Size) -> Mapping[str, Tensor]:
        """Tokens of all scales to one map per task, at twice the size of the last."""
        count = len(self.tasks)
        target = (2 * size[0], 2 * size[1])
        sums: list[Tensor] = []
        for i, (tokens, norm) in enumerate(zip(scales, self.norms)):
            beside = tokens.unflatten(1, (count, -1)).transpose(1, 2).flatten(2)
            apart = norm(beside).unflatten(2, (count, -1)).permute(0, 2, 3, 1)
            factor = 2 ** (len(scales) - 1 - i)
            maps = list(apart.unflatten(3, (size[0] // factor, -1)).unbind(1))
            if i:
                reduce: Any = self.reductions[i - 1]
                maps = [reduce[task](x) for task, x in zip(self.tasks, maps)]
            larger = [resize(x, target, align_corners=False) for x in maps]
            sums = [a + b for a, b in zip(sums, larger)] if sums else larger
        dtype = scales[-1].dtype
        return {task: self.outputs[task](x.to(dtype)) for task, x in zip(self.tasks, sums)}


def halved(size: Size) -> Size:
    """Rows and columns of the queries of a grid: half as many, rounded up."""
    return -(-size[0] // 2), -(-size[1] // 2)


def tokens_to_maps(tokens: Tensor, num_tasks: int, size: Size) -> Tensor:
    """``(B, T * h * w, C)`` to ``(B, T, C, h, w)``."""
    return tokens.unflatten(1, (num_tasks, -1)).transpose(2, 3).unflatten(3, size)


def _skip(scale: int, channels: int, skip_channels: int, stride: int, wanted: int) -> nn.Module:
    """The layer that brings an encoder map of ``stride`` to the ``wanted`` one."""
    if stride == wanted:
        return nn.Conv2d(skip_channels, channels, 3, padding=1)
    if stride == 2 * wanted:
        return nn.ConvTranspose2d(skip_channels, channels, 3, 2, padding=1, output_padding=1)
    raise ValueError(
        f'UPTransformer.skip_strides: scale {scale} has stride {wanted}, the map that is added to '
        f'it stride {stride}; expected {wanted} or {2 * wanted}. Choose another map with '
        '`skip_index`.'
    )
