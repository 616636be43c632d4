"""Initial heads of MTI-Net: features and first predictions of every task at every level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mmdense.models.layers import BATCH_NORM, basic_block
from mmdense.models.losses.functional import resize
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.utils import ShapeError

from .feature_propagation import FeaturePropagation
from .task_features import add_intermediate, check_levels, check_tasks


class LevelHeads(nn.Module):
    """The initial heads of all tasks at one level.

    Args:
        in_channels (int): Channels of the maps that are read.
        channels (int): Channels of the feature maps.
        task_channels (Mapping[str, int]): Task to its output channels.
        norm_cfg (Mapping): Norm layers.

    Shape:
        - inputs: one ``(B, in_channels, h, w)`` per task.
        - output: per task a feature map ``(B, channels, h, w)`` and, if ``supervised``, its
          logits ``(B, task_channels[task], h, w)``.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        task_channels: Mapping[str, int],
        norm_cfg: Mapping[str, Any] = BATCH_NORM,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict()
        self.predictors = nn.ModuleDict()
        for task, outputs in task_channels.items():
            self.blocks[task] = nn.Sequential(
                basic_block(in_channels, channels, norm_cfg),
                basic_block(channels, channels, norm_cfg),
            )
            self.predictors[task] = nn.Conv2d(channels, outputs, 1)

    def forward(
        self, inputs: Sequence[Tensor], supervised: bool
    ) -> tuple[list[Tensor], list[Tensor]]:
        maps = [block(x) for block, x in zip(self.blocks.values(), inputs)]
        if not supervised:
            return maps, []
        return maps, [predictor(y) for predictor, y in zip(self.predictors.values(), maps)]


@MODELS.register_module()
class MultiScaleInitialTaskHeads(nn.Module):
    """Initial heads at every level, from coarse to fine, with feature propagation between.

    Of MTI-Net (Vandenhende et al., ECCV 2020); the first half of multi-scale CTAL (WACV 2025)
    too. At the coarsest level the heads read the backbone's map, at every other the
    backbone's map beside what :class:`FeaturePropagation` made of the coarser level, enlarged
    twice. A head is two basic blocks, whose output is the task's feature map, and a 1x1 to a
    prediction, which is left out where nobody reads it. PyTorch's initial weights.

    Args:
        in_channels (Sequence[int]): Channels of the backbone's levels, fine to coarse, each half
            as large as the one before.
        task_channels (Mapping[str, int]): Task to its output channels; injected by the model.
        fpm_softmax (str): ``'tasks'`` (paper) or ``'released'``; see :class:`FeaturePropagation`.
        divisor (int | None): What both sides of the network input must be a multiple of: the
            stride of the coarsest level. None: that of levels that begin at stride 4, 32 for four.
        norm_cfg (Mapping): Norm layers.

    Attributes:
        channels (tuple[int, ...]): Channels of a task's maps, those of ``in_channels``.

    Shape:
        - ``feats.shared``: ``(B, in_channels[i], h / 2**i, w / 2**i)``.
        - ``feats.per_task[task]`` out: tuple of maps of the same shapes.
        - ``feats.intermediate[task]``: gains logits ``(B, task_channels[task], h_i, w_i)``, fine
          to coarse, where ``feats.supervised``.

    Raises:
        ValueError: If there is no task or ``fpm_softmax`` is unknown.
        ShapeError: If the levels are not those of ``in_channels``, or the sides of the input
            are not multiples of ``divisor``.
    """

    takes_features = True
    takes_task_channels = True

    def __init__(
        self,
        in_channels: Sequence[int],
        task_channels: Mapping[str, int],
        fpm_softmax: str = 'tasks',
        divisor: int | None = None,
        norm_cfg: Mapping[str, Any] = BATCH_NORM,
    ) -> None:
        super().__init__()
        self.tasks = check_tasks('MultiScaleInitialTaskHeads', list(task_channels))
        self.channels = tuple(in_channels)
        self.divisor = 2 ** (len(self.channels) + 1) if divisor is None else divisor
        self.levels = nn.ModuleList(
            LevelHeads(own + coarser, own, task_channels, norm_cfg)
            for own, coarser in zip(self.channels, (*self.channels[1:], 0))
        )
        #: ``propagations[i]`` is what level ``i + 1`` tells level ``i``.
        self.propagations = nn.ModuleList(
            FeaturePropagation(self.tasks, c, fpm_softmax, norm_cfg) for c in self.channels[1:]
        )

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        self._check(feats)
        coarsest = len(self.channels) - 1
        maps: list[list[Tensor]] = [[]] * len(self.channels)
        logits: list[list[Tensor]] = [[]] * len(self.channels)
        for index in reversed(range(len(self.channels))):
            x = feats.shared[index]
            inputs = [x] * len(self.tasks)
            if index < coarsest:
                hints = self.propagations[index](maps[index + 1])
                inputs = [torch.cat([x, self._enlarge(hint, x)], dim=1) for hint in hints]
            maps[index], logits[index] = self.levels[index](inputs, feats.supervised)
        predicted = {task: list(own) for task, own in zip(self.tasks, zip(*logits))}
        return feats.replace(
            per_task={**feats.per_task, **dict(zip(self.tasks, zip(*maps)))},
            intermediate=add_intermediate(feats, predicted),
        )

    @staticmethod
    def _enlarge(hint: Tensor, x: Tensor) -> Tensor:
        size = (x.shape[-2], x.shape[-1])
        return resize(hint, size, align_corners=False).to(x.dtype)

    def _check(self, feats: DenseFeatures) -> None:
        check_levels('MultiScaleInitialTaskHeads', feats.shared, self.channels)
        sides = feats.image_size
        sizes = [tuple(x.shape[-2:]) for x in feats.shared]
        halved = all(a == (2 * b[0], 2 * b[1]) for a, b in pairwise(sizes))
        if not halved or (sides is not None and any(side % self.divisor for side in sides)):
            raise ShapeError(
                f'MultiScaleInitialTaskHeads: the input is {sides} (H, W), its maps are {sizes}; '
                f'both sides must be multiples of {self.divisor}, so that every map is half the '
                f'one before. Set data_preprocessor.size_divisor={self.divisor}, or crop or resize '
                'the pictures.'
            )
