"""Preliminary predictions of InvPT, and the task features that carry them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mmdense.models.layers import conv_norm_relu
from mmdense.models.losses.functional import resize
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.utils import ShapeError

from .task_features import check_channels, check_tasks


@MODELS.register_module()
class PreliminaryDecoder(nn.Module):
    """Two convolutions and a prediction per task; feature and prediction become one map.

    Ye and Xu, "Inverted Pyramid Multi-Task Transformer for Dense Scene Understanding" (InvPT,
    ECCV 2022). The coarsest (or last) shared map is resized to the grid of the decoder. Per task,
    two 3x3 convolutions with batch norm and ReLU and one 1x1 convolution give logits, which are
    supervised; a 1x1 convolution of features and logits side by side gives the tokens of the
    transformer.

    Args:
        tasks (Sequence[str]): Task names; injected by the model.
        task_channels (Mapping[str, int]): Task name to the channels of its logits; injected.
        in_channels (int): Channels of the map that is read.
        channels (int): Channels behind the second convolution. Defaults to 512.
        mid_channels (int | None): Channels behind the first. None: ``in_channels``.
        embed_dim (int): Channels of the result. Defaults to 576.
        in_index (int): Which shared map to read. Defaults to -1.
        downsample (int): The map is this many times finer than the decoder's grid: 2 for a ViT
            of stride 16 (the default), 1 for a hierarchical encoder of stride 32.

    Shape:
        - ``feats.shared[in_index]``: ``(B, in_channels, h, w)``.
        - ``feats.per_task`` out: ``(B, embed_dim, ceil(h / downsample), ceil(w / downsample))``.
        - ``feats.intermediate`` out: logits of that size are appended.

    Raises:
        ValueError: If a task has no number of channels, or ``downsample`` is below 1.
        ShapeError: If there is no such map, or it has other channels.
    """

    takes_features = True
    takes_tasks = True
    takes_task_channels = True

    def __init__(
        self,
        tasks: Sequence[str],
        task_channels: Mapping[str, int],
        in_channels: int,
        channels: int = 512,
        mid_channels: int | None = None,
        embed_dim: int = 576,
        in_index: int = -1,
        downsample: int = 2,
    ) -> None:
        super().__init__()
        self.tasks = check_tasks('PreliminaryDecoder', tasks)
        missing = [task for task in self.tasks if task not in task_channels]
        if missing or downsample < 1:
            raise ValueError(
                f'PreliminaryDecoder: task_channels={dict(task_channels)} lacks {missing}, '
                f'downsample={downsample}; give the channels of every task, and a positive factor.'
            )
        self.in_channels = in_channels
        self.in_index = in_index
        self.downsample = downsample
        mid_channels = in_channels if mid_channels is None else mid_channels
        self.decoders = nn.ModuleDict(
            {
                task: nn.Sequential(
                    conv_norm_relu(in_channels, mid_channels, 3),
                    conv_norm_relu(mid_channels, channels, 3),
                )
                for task in self.tasks
            }
        )
        widths = {task: task_channels[task] for task in self.tasks}
        self.predictors = nn.ModuleDict(
            {task: nn.Conv2d(channels, width, 1) for task, width in widths.items()}
        )
        self.embeddings = nn.ModuleDict(
            {task: nn.Conv2d(channels + width, embed_dim, 1) for task, width in widths.items()}
        )

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        x = self._decoder_input(feats)
        per_task: dict[str, Tensor] = {}
        intermediate = dict(feats.intermediate)
        for task in self.tasks:
            features = self.decoders[task](x)
            logits = self.predictors[task](features)
            per_task[task] = self.embeddings[task](torch.cat([features, logits], dim=1))
            intermediate[task] = [*intermediate.get(task, ()), logits]
        return feats.replace(per_task={**feats.per_task, **per_task}, intermediate=intermediate)

    def _decoder_input(self, feats: DenseFeatures) -> Tensor:
        if not -len(feats.shared) <= self.in_index < len(feats.shared):
            raise ShapeError(
                f'PreliminaryDecoder.in_index is {self.in_index}, but there are '
                f'{len(feats.shared)} shared maps. Change the index or the backbone.'
            )
        x = feats.shared[self.in_index]
        check_channels('PreliminaryDecoder', x, self.in_channels)
        size = (-(-x.shape[-2] // self.downsample), -(-x.shape[-1] // self.downsample))
        return resize(x, size, align_corners=False).to(x.dtype)
