"""Initial heads: a feature map and a first prediction of every task from one shared map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmdense.models.layers import BATCH_NORM, bottleneck, conv_norm_relu, norm_layer
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.utils import ShapeError

from .task_features import add_intermediate, check_channels, check_tasks


class ParallelBottlenecks(nn.Module):
    """Bottleneck blocks, with projected skip, that read one and the same map.

    The first 1x1 convolution and the skip of all blocks are rows of one convolution, their
    norms channels of one norm: one launch each in place of two per block, with the results
    and the initial weights of separate blocks.

    Args:
        in_channels (int): Channels of the map.
        width (int): Width of the 3x3 convolutions; a block gives ``4 * width`` channels.
        blocks (int): Number of blocks.
        norm_cfg (Mapping): Norm layers.

    Shape:
        - input: ``(B, in_channels, h, w)``.
        - output: ``blocks`` maps ``(B, 4 * width, h, w)``.
    """

    def __init__(
        self, in_channels: int, width: int, blocks: int, norm_cfg: Mapping[str, Any] = BATCH_NORM
    ) -> None:
        super().__init__()
        # Rows: the first convolutions of all blocks, then the skips of all blocks.
        self.split = (blocks * width, blocks * 4 * width)
        self.entry = nn.Conv2d(in_channels, sum(self.split), 1, bias=False)
        self.entry_norm = norm_layer(norm_cfg, sum(self.split))
        self.bodies = nn.ModuleList(
            nn.Sequential(
                *conv_norm_relu(width, width, 3, norm_cfg=norm_cfg),
                nn.Conv2d(width, 4 * width, 1, bias=False),
                norm_layer(norm_cfg, 4 * width),
            )
            for _ in range(blocks)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        reduced, skips = self.entry_norm(self.entry(x)).split(self.split, dim=1)
        count = len(self.bodies)
        pairs = zip(self.bodies, reduced.relu().chunk(count, dim=1), skips.chunk(count, dim=1))
        return [torch.relu(body(part) + skip) for body, part, skip in pairs]


@MODELS.register_module()
class InitialTaskHeads(nn.Module):
    """Two bottleneck blocks per task on the shared map, and a 1x1 to a supervised prediction.

    Of PAD-Net (Xu et al., CVPR 2018) in the form that PAD-Net, PAP-Net and single-scale CTAL
    have in CTAL (WACV 2025). What goes on is the feature map; the predictions are only
    trained, and left out where nobody reads them. PyTorch's initial weights.

    Args:
        in_channels (int): Channels of the shared map.
        task_channels (Mapping[str, int]): Task to its output channels; injected by the model.
        channels (int): Channels of a task's feature map, a multiple of 4; the blocks are a
            quarter as wide inside.
        in_index (int): Which of the shared maps to read.
        norm_cfg (Mapping): Norm layers.

    Attributes:
        channels (tuple[int]): Channels of the maps that come out.

    Shape:
        - ``feats.shared[in_index]``: ``(B, in_channels, h, w)``.
        - ``feats.per_task[task]`` out: ``(B, channels, h, w)``.
        - ``feats.intermediate[task]``: gains logits ``(B, task_channels[task], h, w)`` where
          ``feats.supervised``.

    Raises:
        ValueError: If there is no task or ``channels`` is not a positive multiple of 4.
        ShapeError: If there is no such map, or its channels differ from ``in_channels``.
    """

    takes_features = True
    takes_task_channels = True

    def __init__(
        self,
        in_channels: int,
        task_channels: Mapping[str, int],
        channels: int = 256,
        in_index: int = 0,
        norm_cfg: Mapping[str, Any] = BATCH_NORM,
    ) -> None:
        super().__init__()
        self.tasks = check_tasks('InitialTaskHeads', list(task_channels))
        if channels <= 0 or channels % 4:
            raise ValueError(
                f'InitialTaskHeads.channels is {channels}; give a positive multiple of 4, the '
                'expansion of a bottleneck block.'
            )
        self.in_channels = in_channels
        self.in_index = in_index
        self.channels = (channels,)
        width = channels // 4
        self.first = ParallelBottlenecks(in_channels, width, len(self.tasks), norm_cfg)
        self.second = nn.ModuleDict(
            {task: bottleneck(channels, width, norm_cfg) for task in self.tasks}
        )
        self.predictors = nn.ModuleDict(
            {task: nn.Conv2d(channels, task_channels[task], 1) for task in self.tasks}
        )

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        if not -len(feats.shared) <= self.in_index < len(feats.shared):
            raise ShapeError(
                f'InitialTaskHeads: reads shared map {self.in_index}, of which there are '
                f'{len(feats.shared)}. Change `in_index` or put a neck that makes one in front.'
            )
        x = feats.shared[self.in_index]
        check_channels('InitialTaskHeads', x, self.in_channels)
        maps = {task: self.second[task](y) for task, y in zip(self.tasks, self.first(x))}
        logits = {}
        if feats.supervised:
            logits = {task: [self.predictors[task](y)] for task, y in maps.items()}
        return feats.replace(
            per_task={**feats.per_task, **maps}, intermediate=add_intermediate(feats, logits)
        )
