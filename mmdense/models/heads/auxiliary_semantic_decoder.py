"""Auxiliary semantic branch of kMaX-DeepLab, for training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdense.models.layers import BNSettings, ConstructorInitModule, ConvNorm, trunc_normal_
from mmdense.registry import MODELS
from mmdense.utils import ShapeError


def _separable(in_channels: int, out_channels: int, bn: BNSettings) -> nn.Sequential:
    """5x5 depthwise and 1x1 convolution, each with batch norm and GELU."""
    return nn.Sequential(
        ConvNorm(in_channels, in_channels, 5, groups=in_channels, bn=bn, init='xavier'),
        ConvNorm(in_channels, out_channels, bn=bn),
    )


class _ASPP(nn.Module):
    """Atrous spatial pyramid pooling.

    Children: ``branches`` (1x1, then one 3x3 per rate), ``pool``, ``project``.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        rates: Sequence[int],
        dropout: float,
        bn: BNSettings,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList([ConvNorm(in_channels, channels, bn=bn)])
        for rate in rates:
            self.branches.append(ConvNorm(in_channels, channels, 3, dilation=rate, bn=bn))
        self.pool = ConvNorm(in_channels, channels, bn=bn)
        self.project = ConvNorm(channels * (len(rates) + 2), channels, bn=bn)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self._pooled(x).expand(-1, -1, *x.shape[-2:])
        outs = [branch(x) for branch in self.branches]
        return self.dropout(self.project(torch.cat([*outs, pooled], dim=1)))

    def _pooled(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        if self.training and len(x) == 1 and type(self.pool.bn) is nn.BatchNorm2d:
            # One value per channel has no batch statistics, and torch refuses it. Running
            # statistics keep a batch of one trainable; a synchronised norm has more values.
            weight, shift = self.pool.eval_kernel()
            return F.gelu(F.conv2d(mean, weight, shift))
        return self.pool(mean)


class _Fusion(nn.Module):
    """Coarse map, upsampled, next to a projected fine one: ``project``, ``fuse``."""

    def __init__(
        self, low_channels: int, high_channels: int, projection: int, channels: int, bn: BNSettings
    ) -> None:
        super().__init__()
        self.project = ConvNorm(high_channels, projection, bn=bn)
        self.fuse = _separable(low_channels + projection, channels, bn)

    def forward(self, low: Tensor, high: Tensor, align_corners: bool) -> Tensor:
        size = high.shape[-2:]
        low = F.interpolate(low, size, mode='bilinear', align_corners=align_corners)
        return self.fuse(torch.cat([low, self.project(high)], dim=1))


@MODELS.register_module()
class AuxiliarySemanticDecoder(ConstructorInitModule):
    """Semantic branch on raw backbone features, in the manner of Panoptic-DeepLab.

    kMaX-DeepLab trains its backbone with it next to the mask transformer; inference leaves
    it out. ASPP on the coarsest map, two fusions with finer ones, a separable convolution,
    class logits.

    Submodules in this order: ``aspp`` (``branches.N``, ``pool``, ``project``), ``fusions.N``
    (``project``, ``fuse.0`` depthwise, ``fuse.1``; coarse to fine), ``head.0`` (depthwise),
    ``head.1``, ``classifier``. The short form has ``head`` and ``classifier`` only.

    Args:
        in_channels (Sequence[int]): Channels of the backbone maps, fine to coarse. Read are
            the coarsest and those of ``fusion_indices``.
        out_channels (int): C + 1: the classes, and void last. The short form has no void
            and yields C channels for the same number.
        aspp_channels (int): Width of the pyramid. Defaults to 256.
        aspp_rates (Sequence[int]): Dilations of its 3x3 convolutions. Defaults to (6, 12, 18).
        projections (Sequence[int]): Widths of the projected finer maps, coarse to fine.
            Defaults to (64, 32).
        fusion_indices (Sequence[int]): Their places in ``in_channels``. Defaults to (1, 0):
            OS8, then OS4.
        head_channels (int): Width of the fusions and the head. Defaults to 256.
        dropout (float): After the pyramid. Defaults to 0.1.
        short (bool): The form used for Cityscapes: head and classifier on the coarsest map,
            no void class. Defaults to False.
        bn_eps (float): Batch norm epsilon. Defaults to 1e-3.
        bn_momentum (float): Batch norm momentum, torch's meaning. Defaults to 0.01.
        init_cfg (dict | None): Initialisation config of mmengine.

    Raises:
        ValueError: If ``projections`` and ``fusion_indices`` differ in number.
        ShapeError: If the maps are not those of ``in_channels``.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        *,
        aspp_channels: int = 256,
        aspp_rates: Sequence[int] = (6, 12, 18),
        projections: Sequence[int] = (64, 32),
        fusion_indices: Sequence[int] = (1, 0),
        head_channels: int = 256,
        dropout: float = 0.1,
        short: bool = False,
        bn_eps: float = 1e-3,
        bn_momentum: float = 0.01,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(projections) != len(fusion_indices):
            raise ValueError(
                f'AuxiliarySemanticDecoder: projections={tuple(projections)} and fusion_indices='
                f'{tuple(fusion_indices)} differ in number; expected one width per finer map.'
            )
        self.in_channels = tuple(in_channels)
        self.fusion_indices = () if short else tuple(fusion_indices)
        bn = BNSettings(bn_eps, bn_momentum)
        width = self.in_channels[-1]
        self.aspp: _ASPP | None = None
        self.fusions = nn.ModuleList()
        if not short:
            self.aspp = _ASPP(width, aspp_channels, aspp_rates, dropout, bn)
            width = aspp_channels
            for index, projection in zip(fusion_indices, projections):
                fusion = _Fusion(width, self.in_channels[index], projection, head_channels, bn)
                self.fusions.append(fusion)
                width = head_channels
        self.head = _separable(width, head_channels, bn)
        self.classifier = nn.Conv2d(head_channels, out_channels - short, 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the classifier."""
        trunc_normal_(self.classifier.weight, 0.01)
        if self.classifier.bias is not None:
            nn.init.zeros_(self.classifier.bias)

    def forward(self, maps: Sequence[Tensor], align_corners: bool = False) -> Tensor:
        """Class logits.

        Args:
            maps (Sequence[Tensor]): Raw backbone maps ``(B, in_channels[i], H_i, W_i)``, fine
                to coarse.
            align_corners (bool): Of the bilinear resizes. Defaults to False.

        Returns:
            Tensor: ``(B, C + 1, H_f, W_f)`` at the size of the finest fused map; short form:
            ``(B, C, H_c, W_c)`` at the size of the coarsest.
        """
        got = tuple(x.shape[1] for x in maps)
        if got != self.in_channels:
            raise ShapeError(
                f'AuxiliarySemanticDecoder: maps of {got} channels, expected in_channels='
                f'{self.in_channels}, fine to coarse. Set `in_channels` to the `channels` of the '
                'backbone.'
            )
        x = maps[-1] if self.aspp is None else self.aspp(maps[-1])
        for index, fusion in zip(self.fusion_indices, self.fusions):
            x = fusion(x, maps[index], align_corners)
        return self.classifier(self.head(x))
