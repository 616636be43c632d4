"""ResNet whose last stages are dilated instead of strided."""

from __future__ import annotations

from typing import Any

from mmseg.models.backbones.resnet import BasicBlock

from mmdense.registry import MODELS

from .resnet import ResNet

#: Output stride to the strides and dilations of the four stages.
STAGES: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {
    32: ((1, 2, 2, 2), (1, 1, 1, 1)),
    16: ((1, 2, 2, 1), (1, 1, 1, 2)),
    8: ((1, 2, 1, 1), (1, 1, 2, 4)),
}


@MODELS.register_module()
class DilatedResNet(ResNet):
    """ResNet that keeps its resolution by dilation, as the multi-task survey trains it.

    Yu et al., "Dilated Residual Networks" (CVPR 2017); Vandenhende et al., "Multi-Task Learning
    for Dense Prediction Tasks: A Survey" (TPAMI 2021). The last stages lose their stride; their
    3x3 convolutions are dilated by what is lost (2, then 4), the one that was strided by half of
    that. Parameters and names are those of torchvision, whose releases load as they are.

    Args:
        depth (int): 18, 34, 50, 101 or 152. Defaults to 50.
        output_stride (int): Stride of the last map: 8, 16 or 32. Defaults to 8.
        dilate_second_conv (bool): In basic blocks (depths 18 and 34) dilate the second 3x3
            convolution too, as the survey's code does; mmseg leaves it at 1. Without effect
            on bottlenecks. Defaults to True.
        norm_cfg (dict | None): Norm layers. Defaults to batch norm with PyTorch's constants.
        **kwargs: Further arguments of :class:`ResNet`, but ``strides`` and ``dilations``.

    Shape:
        - input: ``(B, 3, H, W)``.
        - output: tuple of ``(B, C_i, ceil(H / s_i), ceil(W / s_i))``, fine to coarse; with
          ``output_stride=8`` the strides are 4, 8, 8, 8.

    Raises:
        ValueError: If ``output_stride`` is not 8, 16 or 32.
    """

    def __init__(
        self,
        depth: int = 50,
        *,
        output_stride: int = 8,
        dilate_second_conv: bool = True,
        norm_cfg: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if output_stride not in STAGES:
            raise ValueError(
                f'{type(self).__name__}.output_stride is {output_stride!r}; choose 8, 16 or 32.'
            )
        strides, dilations = STAGES[output_stride]
        super().__init__(
            depth,
            strides=strides,
            dilations=dilations,
            contract_dilation=True,
            norm_cfg=norm_cfg or dict(type='BN', requires_grad=True),
            **kwargs,
        )
        if dilate_second_conv and self.block is BasicBlock:
            for index, rate in enumerate(dilations):
                for block in self.stage(index):
                    conv: Any = block.conv2
                    conv.dilation = conv.padding = (rate, rate)
