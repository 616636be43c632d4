"""Convolutional head."""

from __future__ import annotations

from typing import Any

from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmdense.models.layers import concat_levels
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures

from .base_head import BaseDenseHead


@MODELS.register_module()
class ConvHead(BaseDenseHead):
    """A stack of 3x3 convolutions with norm and ReLU, then 1x1 to the task's channels.

    Several maps (``in_index`` a list or ``'all'``) are resized to the finest of them and
    concatenated first, as HRNet's heads do.

    Args:
        task, in_channels, in_index: As in :class:`BaseDenseHead`.
        channels (int): Width of the stack.
        num_convs (int): Convolutions in the stack; 0 leaves the 1x1 alone.
        kernel_size (int): Of the convolutions in the stack, odd.
        norm_cfg (dict | None): Norm layer; None for none.
        act_cfg (dict | None): Activation; None for none.
        predictor_std (float | None): The 1x1 convolution starts with weights from a normal of
            this standard deviation and a bias of 0, whatever the task would start with
            (HRNet, ATRC and DeMT: 0.01). None: PyTorch's weights and the bias of the task.
        **kwargs: As in :class:`BaseDenseHead`.

    Shape:
        - output: ``(B, num_channels, h, w)``, the size of the finest map read.

    Raises:
        ValueError: If ``num_convs`` is negative or ``kernel_size`` is even.
    """

    def __init__(
        self,
        *args: Any,
        channels: int = 256,
        num_convs: int = 1,
        kernel_size: int = 3,
        norm_cfg: dict[str, Any] | None = dict(type='BN'),  # noqa: B006  (read only)
        act_cfg: dict[str, Any] | None = dict(type='ReLU'),  # noqa: B006  (read only)
        predictor_std: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if num_convs < 0 or kernel_size % 2 == 0:
            raise ValueError(
                f'{self.config_key}: num_convs={num_convs}, kernel_size={kernel_size}; need '
                'num_convs >= 0 and an odd kernel_size.'
            )
        width = sum(self.in_channels)
        convs = []
        for _ in range(num_convs):
            convs.append(
                ConvModule(
                    width,
                    channels,
                    kernel_size,
                    padding=kernel_size // 2,
                    norm_cfg=norm_cfg,
                    act_cfg=act_cfg,
                )
            )
            width = channels
        self.convs = nn.Sequential(*convs)
        self.predictor = nn.Conv2d(width, self.task.num_channels, 1)
        bias = self.task.initial_bias
        if predictor_std is not None:
            nn.init.normal_(self.predictor.weight, std=predictor_std)
            bias = 0.0
        nn.init.constant_(self.predictor.get_parameter('bias'), bias)

    def forward(self, feats: DenseFeatures) -> Tensor:
        maps = self.select(feats)
        fused = concat_levels(maps, self.corners(feats))
        return self.predictor(self.dropout(self.convs(fused)))
