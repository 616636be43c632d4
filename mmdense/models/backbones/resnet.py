"""ResNet with the batch norm constants of kMaX-DeepLab."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import fuse_conv_bn
from mmseg.models.backbones.resnet import ResNet as MMSegResNet
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmdense.models.utils import PretrainedInitMixin
from mmdense.registry import MODELS


@MODELS.register_module()
class ResNet(PretrainedInitMixin, MMSegResNet):
    """mmseg's ResNet, set up as kMaX-DeepLab trains it.

    No dilation, stride in the 3x3 convolution, nothing frozen, batch norm with eps 1e-3 and
    momentum 0.01. Parameter names are those of torchvision, whose releases load as they are.

    Args:
        depth (int): 18, 34, 50, 101 or 152. Defaults to 50.
        norm_cfg (dict | None): Norm layers. Defaults to
            ``dict(type='BN', requires_grad=True, eps=1e-3, momentum=0.01)``.
        pre_activation_features (bool): Return each stage's residual sum before its last
            ReLU, as the TensorFlow code of kMaX-DeepLab does; the PyTorch port returns the
            ReLU output. Defaults to False.
        init_cfg (dict | list[dict] | None): ``dict(type='Pretrained', checkpoint=...,
            prefix=..., max_missing=..., drop=...)``, or any initialiser of mmengine.
        **kwargs: Further arguments of mmseg's ResNet.

    Attributes:
        channels (tuple[int, ...]): Channels of the returned maps, fine to coarse.
        strides (tuple[int, ...]): Their strides.

    Shape:
        - input: ``(B, 3, H, W)``.
        - output: tuple of ``(B, C_i, H_i, W_i)``, fine to coarse.

    Raises:
        ValueError: If ``pre_activation_features`` meets plugins, which it does not run.
    """

    def __init__(
        self,
        depth: int = 50,
        *,
        norm_cfg: dict[str, Any] | None = None,
        pre_activation_features: bool = False,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        if norm_cfg is None:
            norm_cfg = dict(type='BN', requires_grad=True, eps=1e-3, momentum=0.01)
        if pre_activation_features and kwargs.get('plugins'):
            raise ValueError(
                'ResNet: `pre_activation_features` does not run `plugins`. Leave one of them out.'
            )
        super().__init__(
            depth, norm_cfg=norm_cfg, out_indices=out_indices, init_cfg=init_cfg, **kwargs
        )
        self.pre_activation_features = pre_activation_features
        width = self.base_channels * self.block.expansion
        #: Channels of the output of every stage, returned or not.
        self.stage_channels = tuple(width * 2**i for i in range(self.num_stages))
        self.channels = tuple(self.stage_channels[i] for i in sorted(out_indices))
        # mmseg's `strides` are those of the stages; from here on they are those of the maps.
        self.stage_strides = tuple(kwargs.get('strides', (1, 2, 2, 2)))
        self.strides = tuple(
            4 * math.prod(self.stage_strides[: i + 1]) for i in sorted(out_indices)
        )

    def train(self, mode: bool = True) -> ResNet:
        super().train(mode)
        return self  # mmseg's returns None, which breaks `model.eval()(x)`

    def fold_batch_norm(self) -> None:
        """Merge the batch norms into the convolutions, for inference."""
        fuse_conv_bn(self)

    def forward_stem(self, x: Tensor) -> Tensor:
        """The picture to the input ``(B, stem_channels, H / 4, W / 4)`` of the first stage."""
        x = self.stem(x) if self.deep_stem else self.relu(self.norm1(self.conv1(x)))
        return self.maxpool(x)

    def stage(self, index: int) -> nn.Sequential:
        """The blocks of a stage, counted from 0."""
        blocks: nn.Sequential = getattr(self, self.res_layers[index])
        return blocks

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        if not self.pre_activation_features:
            return super().forward(x)
        x = self.forward_stem(x)
        outs = []
        for i in range(self.num_stages):
            *blocks, last = self.stage(i)
            for block in blocks:
                x = block(x)
            if last.with_cp and torch.is_grad_enabled():
                total = checkpoint(_residual_sum, last, x, use_reentrant=False)
            else:
                total = _residual_sum(last, x)
            if i in self.out_indices:
                outs.append(total)
            x = total.relu()
        return tuple(outs)


def _residual_sum(block: Any, x: Tensor) -> Tensor:
    """A basic or bottleneck block up to, and without, its last ReLU."""
    y = block.norm2(block.conv2(block.relu(block.norm1(block.conv1(x)))))
    if hasattr(block, 'conv3'):
        y = block.norm3(block.conv3(block.relu(y)))
    return y + (x if block.downsample is None else block.downsample(x))
