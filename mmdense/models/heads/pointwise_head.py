"""Heads of 1x1 convolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mmdense.models.layers import conv_norm_relu
from mmdense.models.losses.functional import resize
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.tasks import BaseTask

from .base_head import BaseDenseHead, loss_name, unique_names


@MODELS.register_module()
class PointwiseHead(BaseDenseHead):
    """1x1 convolution, norm, ReLU, 1x1 to the task's channels, enlargement.

    The final head of segmentation, parts, saliency and normals in MT-CP (WACV 2025).
    PyTorch's initial weights; the bias of the task is not used.

    Args:
        task (BaseTask): Injected by the model.
        in_channels (int): Channels of the map.
        in_index (int): Which map to read.
        channels (int | None): Width after the first convolution. None: ``in_channels``.
        upsample (int): The logits are enlarged this many times with aligned corners, ahead of
            the resizing to the size of the ground truth (the order of the released code of
            MT-CP). 1: not.
        auxiliary_losses (Sequence[dict] | None): Registry configs of the losses of intermediate
            predictions; None: those of the final prediction.
        **kwargs: As in :class:`BaseDenseHead`.

    Shape:
        - output: ``(B, num_channels, upsample * h, upsample * w)``.

    Raises:
        ValueError: If several maps are named or ``upsample`` is not positive.
    """

    def __init__(
        self,
        task: BaseTask,
        in_channels: int,
        in_index: int = 0,
        channels: int | None = None,
        upsample: int = 1,
        auxiliary_losses: Sequence[Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(task, in_channels, in_index, **kwargs)
        if len(self.in_channels) != 1 or upsample < 1:
            raise ValueError(
                f'{self.config_key}: in_channels={in_channels}, upsample={upsample}; need one map '
                'and a factor of at least 1.'
            )
        self.upsample = upsample
        self.auxiliary_losses: nn.ModuleList | None = None
        if auxiliary_losses is not None:
            self.auxiliary_losses = nn.ModuleList(
                MODELS.build(dict(cfg)) for cfg in auxiliary_losses
            )
        self._make_layers(self.in_channels[0], channels or self.in_channels[0])

    def _make_layers(self, in_channels: int, channels: int) -> None:
        self.mix = conv_norm_relu(in_channels, channels, 1)
        self.predictor = nn.Conv2d(channels, self.task.num_channels, 1)

    def forward(self, feats: DenseFeatures) -> Tensor:
        (x,) = self.select(feats)
        return self.enlarge(self.predictor(self.dropout(self.mix(x))))

    def enlarge(self, x: Tensor) -> Tensor:
        """``x``, ``upsample`` times as high and wide."""
        size = (self.upsample * x.shape[-2], self.upsample * x.shape[-1])
        return resize(x, size, align_corners=True) if self.upsample > 1 else x

    def intermediate_losses(
        self, feats: DenseFeatures, target: Tensor, valid_mask: Tensor, first: int = 0
    ) -> dict[str, Tensor]:
        if self.auxiliary_losses is None:
            return super().intermediate_losses(feats, target, valid_mask, first)
        names = unique_names([loss_name(loss) for loss in self.auxiliary_losses])
        named: dict[str, Tensor] = {}
        for index, logits in enumerate(feats.intermediate.get(self.task.key, ()), start=first):
            pred = self._enlarge(logits, feats, target)
            for name, loss in zip(names, self.auxiliary_losses):
                value = self.intermediate_weight * loss(pred, target, valid_mask)
                named[f'aux{index}.{name}'] = value
        return named


@MODELS.register_module()
class PointwiseDepthHead(PointwiseHead):
    """1x1 to half and to an eighth of the channels, enlargement, ReLU, 1x1 to the task's.

    The final head of depth in MT-CP (WACV 2025), 256 - 128 - 32 - 1. The released code enlarges
    between the first two convolutions; a pointwise convolution commutes with bilinear
    resizing, so the same comes of enlarging behind the second, a quarter of the channels.

    Args:
        task, in_channels, in_index, upsample, auxiliary_losses: As in :class:`PointwiseHead`;
            ``channels`` is the width of the first convolution, half of ``in_channels`` by
            default, the second has a quarter of it.
        **kwargs: As in :class:`BaseDenseHead`.

    Raises:
        ValueError: As :class:`PointwiseHead`, and if the widths are not positive.
    """

    def __init__(
        self,
        task: BaseTask,
        in_channels: int,
        in_index: int = 0,
        channels: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(task, in_channels, in_index, channels or in_channels // 2, **kwargs)

    def _make_layers(self, in_channels: int, channels: int) -> None:
        if channels < 4:
            raise ValueError(f'{self.config_key}: channels is {channels}; need at least 4.')
        self.reduce = nn.Conv2d(in_channels, channels, 1)
        self.narrow = nn.Conv2d(channels, channels // 4, 1)
        self.predictor = nn.Conv2d(channels // 4, self.task.num_channels, 1)

    def forward(self, feats: DenseFeatures) -> Tensor:
        (x,) = self.select(feats)
        x = self.enlarge(self.narrow(self.reduce(x))).to(x.dtype)
        return self.predictor(self.dropout(x.relu()))
