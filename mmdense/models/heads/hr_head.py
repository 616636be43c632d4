"""Head of HRNetV2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mmdense.models.layers import BATCH_NORM, LevelFusion
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.tasks import BaseTask

from .base_head import BaseDenseHead


@MODELS.register_module()
class HRHead(BaseDenseHead):
    """All levels concatenated at the finest size, 1x1 convolution, norm, ReLU, 1x1 to the task.

    Of HRNetV2 (Wang et al., PAMI 2020); the head of the single-task, multi-task and MTI-Net
    models of CTAL (WACV 2025). PyTorch's initial weights; the bias of the task is not used.

    Heads of several tasks that read the same levels each resize and concatenate them. A
    :class:`~mmdense.models.necks.MultiScaleFusion` in front does it once for all; the heads
    then read its one map, ``in_channels=270, in_index=0``, with the same result.

    Args:
        task (BaseTask): Injected by the model.
        in_channels (int | Sequence[int]): Channels of the levels.
        in_index (int | Sequence[int] | str): Levels to read. Defaults to ``'all'``.
        channels (int | None): Width after the first convolution. None: the sum of
            ``in_channels``.
        norm_cfg (Mapping): Norm layer.
        **kwargs: As in :class:`BaseDenseHead`.

    Shape:
        - output: ``(B, num_channels, h, w)``, the size of the finest level read.
    """

    def __init__(
        self,
        task: BaseTask,
        in_channels: int | Sequence[int],
        in_index: int | Sequence[int] | str = 'all',
        channels: int | None = None,
        norm_cfg: Mapping[str, Any] = BATCH_NORM,
        **kwargs: Any,
    ) -> None:
        super().__init__(task, in_channels, in_index, **kwargs)
        self.fusion = LevelFusion(self.in_channels, channels, norm_cfg)
        self.predictor = nn.Conv2d(self.fusion.channels, self.task.num_channels, 1)

    def forward(self, feats: DenseFeatures) -> Tensor:
        fused = self.fusion(self.select(feats), self.corners(feats))
        return self.predictor(self.dropout(fused))
