"""ConvNeXt, version 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdense.models.layers import (
    ChannelLayerNorm,
    ConstructorInitModule,
    DropPath,
    checkpointed,
    trunc_normal_,
)
from mmdense.models.utils import PretrainedInitMixin
from mmdense.registry import MODELS
from mmdense.utils import ShapeError, suggest

from .convnext_keys import convert_convnext_keys

ARCHS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    'atto': ((2, 2, 6, 2), (40, 80, 160, 320)),
    'femto': ((2, 2, 6, 2), (48, 96, 192, 384)),
    'pico': ((2, 2, 6, 2), (64, 128, 256, 512)),
    'nano': ((2, 2, 8, 2), (80, 160, 320, 640)),
    'tiny': ((3, 3, 9, 3), (96, 192, 384, 768)),
    'small': ((3, 3, 27, 3), (96, 192, 384, 768)),
    'base': ((3, 3, 27, 3), (128, 256, 512, 1024)),
    'large': ((3, 3, 27, 3), (192, 384, 768, 1536)),
    'xlarge': ((3, 3, 27, 3), (256, 512, 1024, 2048)),
}


class _Mlp(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class ConvNeXtBlock(nn.Module):
    """7x7 depthwise convolution, layer norm, two linear layers, layer scale, residual.

    Args:
        channels (int): C.
        drop_prob (float): Drop-path probability. Defaults to 0.
        layer_scale_init (float): Initial layer scale; 0 leaves the scale out. Defaults to 1e-6.

    Shape:
        - input and output: ``(B, C, H, W)``.
    """

    def __init__(
        self, channels: int, drop_prob: float = 0.0, layer_scale_init: float = 1e-6
    ) -> None:
        super().__init__()
        self.layer_scale_init = layer_scale_init
        scaled = layer_scale_init > 0
        self.gamma = nn.Parameter(torch.empty(channels)) if scaled else None
        self.conv_dw = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = _Mlp(channels)
        self.drop_path = DropPath(drop_prob)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the layer scale."""
        if self.gamma is not None:
            nn.init.constant_(self.gamma, self.layer_scale_init)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_dw(x).permute(0, 2, 3, 1)
        y = self.mlp(self.norm(y))
        if self.gamma is not None:
            y = y * self.gamma
        return x + self.drop_path(y.permute(0, 3, 1, 2))


class _Stage(nn.Module):
    def __init__(self, in_channels: int | None, channels: int, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.downsample: nn.Sequential | None = None
        if in_channels is not None:
            conv = nn.Conv2d(in_channels, channels, 2, stride=2)
            self.downsample = nn.Sequential(ChannelLayerNorm(in_channels), conv)
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor, pad: bool, recompute: bool) -> Tensor:
        if self.downsample is not None:
            # Ahead of the norm: the padding pixels leave it as the norm's bias.
            x = self.downsample(F.pad(x, (0, 1, 0, 1)) if pad else x)
        for block in self.blocks:
            x = checkpointed(block, x) if recompute else block(x)
        return x


@MODELS.register_module()
class ConvNeXt(PretrainedInitMixin, ConstructorInitModule):
    """ConvNeXt backbone that returns the raw outputs of its stages.

    Liu et al., "A ConvNet for the 2020s" (CVPR 2022). No norm is put on the outputs: the
    kMaX pixel decoder, for which it is meant, has its own.

    Parameter names are those of timm: ``stem.0`` (4x4 convolution), ``stem.1`` (layer norm),
    ``stages.N.downsample.0`` (layer norm) and ``.1`` (2x2 convolution),
    ``stages.N.blocks.N.gamma / conv_dw / norm / mlp.fc1 / mlp.fc2``.

    Args:
        arch (str | dict): ``'atto'``, ``'femto'``, ``'pico'``, ``'nano'``, ``'tiny'``,
            ``'small'``, ``'base'``, ``'large'``, ``'xlarge'``, or
            ``dict(depths=(...), channels=(...))``. Defaults to ``'tiny'``.
        in_channels (int): Channels of the picture. Defaults to 3.
        drop_path_rate (float): Rate of the last block; rises linearly from 0 at the first.
            Defaults to 0.
        layer_scale_init (float): Initial layer scale; 0 leaves the scale out. Defaults to 1e-6.
        zero_pad_downsample (str | bool): Zero padding before each downsampling, 1 left/top
            and 2 right/bottom before the stem, 0 and 1 before the others, ahead of the layer
            norm, as kMaX-DeepLab does. Sizes n*32+1 then give maps of ``(n - 1) / s + 1``.
            ``'auto'``: where the width of the picture is odd. Defaults to ``'auto'``.
        out_indices (Sequence[int]): Stages to return. Defaults to (0, 1, 2, 3).
        with_cp (bool): Recompute blocks in the backward pass to save memory.
            Defaults to False.
        init_cfg (dict | list[dict] | None): ``dict(type='Pretrained', checkpoint=...,
            prefix=..., max_missing=..., drop=...)`` takes timm's, the authors' and
            OpenMMLab's releases.

    Attributes:
        channels (tuple[int, ...]): Channels of the returned maps, fine to coarse.
        strides (tuple[int, ...]): Their strides.

    Shape:
        - input: ``(B, in_channels, H, W)``.
        - output: tuple of ``(B, C_i, H_i, W_i)``, fine to coarse.

    Raises:
        ValueError: If ``arch``, ``zero_pad_downsample`` or ``out_indices`` is unknown.
        ShapeError: If the picture has another number of channels.
    """

    convert_keys = staticmethod(convert_convnext_keys)

    def __init__(
        self,
        arch: str | dict[str, Sequence[int]] = 'tiny',
        *,
        in_channels: int = 3,
        drop_path_rate: float = 0.0,
        layer_scale_init: float = 1e-6,
        zero_pad_downsample: str | bool = 'auto',
        out_indices: Sequence[int] = (0, 1, 2, 3),
        with_cp: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        depths, channels = _resolve_arch(arch)
        if zero_pad_downsample not in ('auto', True, False):
            raise ValueError(
                f"ConvNeXt: zero_pad_downsample={zero_pad_downsample!r}, expected 'auto', True or "
                'False.'
            )
        if not out_indices or not set(out_indices) <= set(range(len(depths))):
            raise ValueError(
                f'ConvNeXt: out_indices={tuple(out_indices)}, expected stages of 0 to '
                f'{len(depths) - 1}.'
            )
        self.in_channels = in_channels
        self.zero_pad_downsample = zero_pad_downsample
        self.out_indices = tuple(sorted(out_indices))
        self.with_cp = with_cp
        self.channels = tuple(channels[i] for i in self.out_indices)
        self.strides = tuple(4 * 2**i for i in self.out_indices)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels[0], 4, stride=4), ChannelLayerNorm(channels[0])
        )
        self.stages = nn.ModuleList()
        last = max(sum(depths) - 1, 1)
        for i, (depth, width) in enumerate(zip(depths, channels)):
            first = sum(depths[:i])
            rates = [drop_path_rate * (first + j) / last for j in range(depth)]
            blocks: list[nn.Module] = [ConvNeXtBlock(width, r, layer_scale_init) for r in rates]
            self.stages.append(_Stage(channels[i - 1] if i else None, width, blocks))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Truncated normal of std 0.02 for every kernel, as the authors train from scratch."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                trunc_normal_(module.weight, 0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ShapeError(
                f'ConvNeXt: input {tuple(x.shape)}, expected (B, {self.in_channels}, H, W). Set '
                '`in_channels` of the backbone to the channels of the picture.'
            )
        pad = self.zero_pad_downsample
        pad = x.shape[-1] % 2 == 1 if pad == 'auto' else pad
        x = self.stem(F.pad(x, (1, 2, 1, 2)) if pad else x)
        recompute = self.with_cp and torch.is_grad_enabled()
        outs = []
        for i, stage in enumerate(self.stages):
            x = stage(x, pad, recompute)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)


def _resolve_arch(arch: str | dict[str, Sequence[int]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if isinstance(arch, str):
        if arch not in ARCHS:
            raise ValueError(f"ConvNeXt: arch='{arch}' is unknown. {suggest(arch, ARCHS)}")
        return ARCHS[arch]
    depths, channels = tuple(arch.get('depths', ())), tuple(arch.get('channels', ()))
    if not depths or len(depths) != len(channels) or set(arch) != {'depths', 'channels'}:
        raise ValueError(
            f'ConvNeXt: arch={dict(arch)}, expected a name or dict(depths=(...), channels=(...)) '
            'with one entry per stage in both.'
        )
    return depths, channels
