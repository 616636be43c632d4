"""DeepLabv3+ head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from torch import Tensor, nn

from mmdense.models.layers import ASPP
from mmdense.models.losses.functional import resize
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.tasks import BaseTask

from .base_head import BaseDenseHead


@MODELS.register_module()
class DeepLabV3PlusHead(BaseDenseHead):
    """DeepLabv3+ (Chen et al., ECCV 2018, arXiv 1802.02611), the baseline of PolyMaX.

    ASPP on the coarsest map, bilinear to the finest, concatenation with the finest map
    projected to few channels, two depthwise-separable 3x3 convolutions, 1x1 to the task's
    channels: classification for labels, regression for depth and normals.

    Args:
        task (BaseTask): Injected by the model.
        in_channels (Sequence[int]): Channels of the fine and the coarse map.
        in_index (Sequence[int]): Their indices.
        channels (int): Width of ASPP and of the fusion.
        low_channels (int): Width of the projected fine map.
        dilations (Sequence[int]): Rates of ASPP; those of output stride 32 and 16.
        norm_cfg (dict): Norm layer.
        act_cfg (dict): Activation.
        dropout_ratio (float): Channel dropout after ASPP.
        **kwargs: As in :class:`BaseDenseHead`.

    Shape:
        - output: ``(B, num_channels, h, w)``, the size of the fine map.

    Raises:
        ValueError: If it is not given two maps.
    """

    def __init__(
        self,
        task: BaseTask,
        in_channels: Sequence[int],
        in_index: Sequence[int] = (0, -1),
        channels: int = 256,
        low_channels: int = 48,
        dilations: Sequence[int] = (6, 12, 18),
        norm_cfg: dict[str, Any] = dict(type='BN'),  # noqa: B006  (read only)
        act_cfg: dict[str, Any] = dict(type='ReLU'),  # noqa: B006  (read only)
        **kwargs: Any,
    ) -> None:
        super().__init__(task, in_channels, in_index, **kwargs)
        if len(self.in_channels) != 2:
            raise ValueError(
                f'{self.config_key}: DeepLabV3PlusHead reads two maps (fine, coarse), in_channels '
                f'is {self.in_channels}. Give two, for example in_channels=(256, 2048).'
            )
        low, high = self.in_channels
        common: dict[str, Any] = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.aspp = ASPP(high, channels, dilations, **common)
        self.low_projection = ConvModule(low, low_channels, 1, **common)
        self.fusion = nn.Sequential(
            DepthwiseSeparableConvModule(channels + low_channels, channels, 3, padding=1, **common),
            DepthwiseSeparableConvModule(channels, channels, 3, padding=1, **common),
        )
        self.predictor = nn.Conv2d(channels, self.task.num_channels, 1)
        nn.init.constant_(self.predictor.get_parameter('bias'), self.task.initial_bias)

    def forward(self, feats: DenseFeatures) -> Tensor:
        fine, coarse = self.select(feats)
        context = self.dropout(self.aspp(coarse))
        size = (fine.shape[-2], fine.shape[-1])
        context = resize(context, size, self.corners(feats)).to(context.dtype)
        return self.predictor(self.fusion(torch.cat([context, self.low_projection(fine)], dim=1)))
