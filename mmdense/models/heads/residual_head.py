"""Residual head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mmdense.models.layers import BATCH_NORM, bottleneck
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.tasks import BaseTask

from .base_head import BaseDenseHead


@MODELS.register_module()
class ResidualHead(BaseDenseHead):
    """Bottleneck blocks, then 1x1 to the task's channels.

    The final head of PAD-Net, PAP-Net and CTAL (Sinodinos & Armanfard, "Cross-Task Affinity
    Learning for Multitask Dense Scene Predictions", WACV 2025) on a convolutional backbone.
    PyTorch's initial weights; the bias of the task is not used.

    Args:
        task (BaseTask): Injected by the model.
        in_channels (int): Channels of the map, kept by the blocks; divisible by 4.
        in_index (int): Which map to read.
        num_blocks (int): Bottleneck blocks, a quarter of ``in_channels`` wide inside.
        norm_cfg (Mapping): Norm layers.
        **kwargs: As in :class:`BaseDenseHead`.

    Shape:
        - output: ``(B, num_channels, h, w)``, the size of the map.

    Raises:
        ValueError: If ``in_channels`` is not a positive multiple of 4 or ``num_blocks`` is
            negative.
    """

    def __init__(
        self,
        task: BaseTask,
        in_channels: int,
        in_index: int = 0,
        num_blocks: int = 2,
        norm_cfg: Mapping[str, Any] = BATCH_NORM,
        **kwargs: Any,
    ) -> None:
        super().__init__(task, in_channels, in_index, **kwargs)
        if len(self.in_channels) != 1 or self.in_channels[0] % 4 or num_blocks < 0:
            raise ValueError(
                f'{self.config_key}: in_channels={in_channels}, num_blocks={num_blocks}; need one '
                'map whose channels are a multiple of 4, and num_blocks >= 0.'
            )
        channels = self.in_channels[0]
        self.blocks = nn.Sequential(
            *(bottleneck(channels, channels // 4, norm_cfg) for _ in range(num_blocks))
        )
        self.predictor = nn.Conv2d(channels, self.task.num_channels, 1)

    def forward(self, feats: DenseFeatures) -> Tensor:
        (x,) = self.select(feats)
        return self.predictor(self.dropout(self.blocks(x)))
