"""Pixel decoder of kMaX-DeepLab."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdense.models.layers import (
    AxialAttention,
    BNSettings,
    ChannelLayerNorm,
    ConstructorInitModule,
    ConvNorm,
    DropPath,
    checkpointed,
)
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.utils import ShapeError

EXPANSION = 4


class _AxialBranch(nn.Module):
    """1x1, height attention, width attention, 1x1; children ``conv1, height, width, conv3``."""

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        num_heads: int,
        key_expansion: int,
        value_expansion: int,
        max_span: int,
        bn: BNSettings,
        fast: bool | None,
    ) -> None:
        super().__init__()
        key, value = width * key_expansion, width * value_expansion
        options: dict[str, Any] = dict(num_heads=num_heads, max_span=max_span, bn=bn, fast=fast)
        self.conv1 = ConvNorm(in_channels, 2 * width, bn=bn)
        self.height = AxialAttention(2 * width, key, value, axis=2, **options)
        self.width = AxialAttention(value, key, value, axis=3, **options)
        self.conv3 = ConvNorm(value, EXPANSION * width, act=False, bn=bn, gamma=0.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(F.gelu(self.width(self.height(self.conv1(x)))))


class _BottleneckBranch(nn.Module):
    """1x1, 3x3, 1x1; children ``conv1, conv2, conv3``."""

    def __init__(self, in_channels: int, width: int, *, bn: BNSettings) -> None:
        super().__init__()
        self.conv1 = ConvNorm(in_channels, width, bn=bn)
        self.conv2 = ConvNorm(width, width, 3, bn=bn)
        self.conv3 = ConvNorm(width, EXPANSION * width, act=False, bn=bn, gamma=0.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(self.conv2(self.conv1(x)))


class KMaXBlock(nn.Module):
    """Residual block with pre-activation on the trunk.

    The shortcut is taken after the GELU, and is a 1x1 convolution with batch norm where the
    channels differ. The last batch norm of the branch starts at scale 0. No final activation.

    Children in this order: ``shortcut`` (absent if not needed), ``branch``.

    Args:
        in_channels (int): Input channels.
        width (int): Base width; the output has four times as many channels.
        branch (nn.Module): From ``in_channels`` to ``4 * width`` channels.
        drop_path (float): Drop-path probability of the branch. Defaults to 0.
        bn (BNSettings): Batch norm constants.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        branch: nn.Module,
        *,
        drop_path: float = 0.0,
        bn: BNSettings = BNSettings(),  # noqa: B008  (frozen)
    ) -> None:
        super().__init__()
        out_channels = EXPANSION * width
        self.shortcut: ConvNorm | None = None
        if in_channels != out_channels:
            self.shortcut = ConvNorm(in_channels, out_channels, act=False, bn=bn)
        self.branch = branch
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(x)
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return shortcut + self.drop_path(self.branch(x))


class KMaXFusion(nn.Module):
    """Adds a coarse and a fine map at ``width`` channels.

    Each goes through GELU, 1x1 convolution and batch norm unless it has ``width`` channels
    already; the coarse one is upsampled after that.

    Children in this order: ``low`` (coarse), ``high`` (fine).
    """

    def __init__(
        self, low_channels: int, high_channels: int, width: int, *, bn: BNSettings
    ) -> None:
        super().__init__()
        self.low = self._projection(low_channels, width, bn)
        self.high = self._projection(high_channels, width, bn)

    @staticmethod
    def _projection(channels: int, width: int, bn: BNSettings) -> ConvNorm | None:
        return None if channels == width else ConvNorm(channels, width, act=False, bn=bn)

    def forward(self, low: Tensor, high: Tensor, align_corners: bool) -> Tensor:
        if self.low is not None:
            low = self.low(F.gelu(low))
        if self.high is not None:
            high = self.high(F.gelu(high))
        size = high.shape[-2:]
        return high + F.interpolate(low, size, mode='bilinear', align_corners=align_corners)


@MODELS.register_module()
class KMaXPixelDecoder(ConstructorInitModule):
    """Pixel decoder of kMaX-DeepLab, coarse to fine.

    Yu et al., "k-means Mask Transformer" (ECCV 2022); used unchanged by PolyMaX. Every
    backbone map has its own layer norm. Stage 0 runs on the coarsest map; each further
    stage on the fusion of the previous stage's output with the next finer map.

    Submodules are ordered coarse to fine: ``input_norms.N``, ``fusions.N`` (``low.conv /
    low.bn``, ``high.conv / high.bn``; fusion 0 feeds stage 1), ``stages.N.N`` (``shortcut``,
    ``branch.conv1``, then ``branch.height``, ``branch.width`` or ``branch.conv2``, then
    ``branch.conv3``).

    Args:
        in_channels (Sequence[int]): Channels of the backbone maps, fine to coarse.
        widths (Sequence[int]): Base width of each stage, coarse to fine; a stage's output
            has four times as many channels. Defaults to (512, 256, 128, 64).
        num_blocks (Sequence[int]): Blocks per stage, coarse to fine. Defaults to (1, 5, 1, 1).
        block_types (Sequence[str]): ``'axial'`` or ``'bottleneck'`` per stage, coarse to
            fine. Defaults to two of each.
        num_heads (int): Heads of the axial attention. Defaults to 8.
        key_expansion (int): Key width over base width. Defaults to 1.
        value_expansion (int): Value width over base width. Defaults to 2.
        max_span (int): Largest distance with its own relative position, plus one.
            Defaults to 255.
        drop_path (float): Drop-path probability of the blocks. Defaults to 0.
        bn_eps (float): Batch norm epsilon. Defaults to 1e-3.
        bn_momentum (float): Batch norm momentum, torch's meaning. Defaults to 0.01.
        norm_eps (float): Epsilon of the input layer norms. Defaults to 1e-6.
        with_cp (bool | Sequence[bool]): Recompute the blocks of all stages, or of the marked
            ones (coarse to fine), in the backward pass. Defaults to False.
        fast (bool | None): Inference form of the axial attention in eval mode; None: whenever
            gradients are off. Defaults to None.
        init_cfg (dict | None): Initialisation config of mmengine.

    Attributes:
        channels (tuple[int, ...]): Channels of the output maps, fine to coarse.

    Shape:
        - ``feats.shared`` in: ``(B, in_channels[i], H_i, W_i)``, fine to coarse.
        - ``feats.shared`` out: ``(B, channels[i], H_i, W_i)``, fine to coarse, without final
          activation. ``feats.backbone`` keeps what it was.

    Raises:
        ValueError: If the settings per stage differ in number, or a block type is unknown.
        ShapeError: If the maps are not those of ``in_channels``.
    """

    takes_features = True

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        widths: Sequence[int] = (512, 256, 128, 64),
        num_blocks: Sequence[int] = (1, 5, 1, 1),
        block_types: Sequence[str] = ('axial', 'axial', 'bottleneck', 'bottleneck'),
        num_heads: int = 8,
        key_expansion: int = 1,
        value_expansion: int = 2,
        max_span: int = 255,
        drop_path: float = 0.0,
        bn_eps: float = 1e-3,
        bn_momentum: float = 0.01,
        norm_eps: float = 1e-6,
        with_cp: bool | Sequence[bool] = False,
        fast: bool | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        stages = len(in_channels)
        self.with_cp = (with_cp,) * stages if isinstance(with_cp, bool) else tuple(with_cp)
        per_stage = dict(
            widths=widths, num_blocks=num_blocks, block_types=block_types, with_cp=self.with_cp
        )
        for name, values in per_stage.items():
            if len(values) != stages:
                raise ValueError(
                    f'KMaXPixelDecoder: {name}={tuple(values)} has {len(values)} entries, expected '
                    f'{stages}, one per map of in_channels={tuple(in_channels)}.'
                )
        unknown = set(block_types) - {'axial', 'bottleneck'}
        if unknown:
            raise ValueError(
                f"KMaXPixelDecoder: block_types has {sorted(unknown)}, expected 'axial' or "
                "'bottleneck'."
            )
        self.in_channels = tuple(in_channels)
        self.channels = tuple(EXPANSION * width for width in reversed(widths))
        bn = BNSettings(bn_eps, bn_momentum)
        axial = dict(
            num_heads=num_heads,
            key_expansion=key_expansion,
            value_expansion=value_expansion,
            max_span=max_span,
            fast=fast,
        )

        def block(channels: int, width: int, kind: str) -> KMaXBlock:
            branch: nn.Module
            if kind == 'axial':
                branch = _AxialBranch(channels, width, bn=bn, **axial)  # type: ignore[arg-type]
            else:
                branch = _BottleneckBranch(channels, width, bn=bn)
            return KMaXBlock(channels, width, branch, drop_path=drop_path, bn=bn)

        coarse_first = tuple(reversed(in_channels))
        self.input_norms = nn.ModuleList(ChannelLayerNorm(c, eps=norm_eps) for c in coarse_first)
        self.fusions = nn.ModuleList(
            KMaXFusion(EXPANSION * widths[i - 1], coarse_first[i], widths[i], bn=bn)
            for i in range(1, stages)
        )
        self.stages = nn.ModuleList()
        for i, (width, depth, kind) in enumerate(zip(widths, num_blocks, block_types)):
            inputs = [coarse_first[0] if i == 0 else width] + [EXPANSION * width] * (depth - 1)
            self.stages.append(nn.Sequential(*(block(c, width, kind) for c in inputs)))

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        maps = feats.shared
        got = tuple(x.shape[1] for x in maps)
        if got != self.in_channels:
            raise ShapeError(
                f'KMaXPixelDecoder: maps of {got} channels, expected in_channels='
                f'{self.in_channels}, fine to coarse. Set `in_channels` to the `channels` of the '
                'backbone.'
            )
        outs: list[Tensor] = []
        for i, x in enumerate(reversed(maps)):
            x = self.input_norms[i](x)
            if i:
                x = self.fusions[i - 1](outs[-1], x, feats.align_corners)
            for block in self.stages[i].children():
                recompute = self.with_cp[i] and torch.is_grad_enabled()
                x = checkpointed(block, x) if recompute else block(x)
            outs.append(x)
        return feats.replace(shared=tuple(reversed(outs)))
