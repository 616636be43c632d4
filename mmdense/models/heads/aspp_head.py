"""DeepLabv3 head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mmdense.models.layers import ASPP, BATCH_NORM, conv_norm_relu, reset_tree
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.tasks import BaseTask

from .base_head import BaseDenseHead


@MODELS.register_module()
class ASPPHead(BaseDenseHead):
    """Atrous spatial pyramid pooling, dropout, 3x3 convolution, 1x1 to the task's channels.

    DeepLabv3 (Chen et al., arXiv 1706.05587), the head of the dilated ResNet models of
    Vandenhende et al. (TPAMI 2021) and of CTAL (WACV 2025) on SwinV2. PyTorch's initial
    weights; the bias of the task is not used.

    Args:
        task (BaseTask): Injected by the model.
        in_channels (int): Channels of the map.
        in_index (int): Which map to read. Defaults to the coarsest, -1.
        channels (int): Width of every branch and of the 3x3 convolution.
        dilations (Sequence[int]): Rates of the 3x3 branches; those of output stride 8.
        dropout_ratio (float): Dropout of single values after the pyramid.
        norm_cfg (Mapping): Norm layers.
        **kwargs: As in :class:`BaseDenseHead`.

    Shape:
        - output: ``(B, num_channels, h, w)``, the size of the map.

    Raises:
        ValueError: If it is given several maps.
    """

    def __init__(
        self,
        task: BaseTask,
        in_channels: int,
        in_index: int = -1,
        channels: int = 256,
        dilations: Sequence[int] = (12, 24, 36),
        dropout_ratio: float = 0.5,
        norm_cfg: Mapping[str, Any] = BATCH_NORM,
        **kwargs: Any,
    ) -> None:
        super().__init__(task, in_channels, in_index, **kwargs)
        if len(self.in_channels) != 1:
            raise ValueError(
                f'{self.config_key}: ASPPHead reads one map, in_channels is {in_channels}. Give '
                'the channels of one, for example in_channels=512.'
            )
        norm_cfg = dict(norm_cfg)
        self.aspp = ASPP(self.in_channels[0], channels, dilations, norm_cfg, dict(type='ReLU'))
        # mmcv's convolution modules start Kaiming-normal; back to PyTorch's own weights.
        reset_tree(self.aspp)
        # Not the channel dropout of other heads.
        self.dropout = nn.Dropout(dropout_ratio)
        self.conv = conv_norm_relu(channels, channels, 3, norm_cfg=norm_cfg)
        self.predictor = nn.Conv2d(channels, self.task.num_channels, 1)

    def forward(self, feats: DenseFeatures) -> Tensor:
        (x,) = self.select(feats)
        return self.predictor(self.conv(self.dropout(self.aspp(x))))
