"""Plain Vision Transformer with four taps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdense.models.layers import (
    ConstructorInitModule,
    DropPath,
    checkpointed,
    full_precision,
    to_map,
    to_tokens,
    trunc_normal_,
)
from mmdense.models.utils import PretrainedInitMixin
from mmdense.registry import MODELS
from mmdense.utils import ShapeError, suggest

from .vit_keys import convert_vit_keys, resize_position_table

#: Name to blocks, width and attention heads.
ARCHITECTURES: dict[str, tuple[int, int, int]] = {
    'tiny': (12, 192, 3),
    'small': (12, 384, 6),
    'base': (12, 768, 12),
    'large': (24, 1024, 16),
}


class _PatchEmbed(nn.Module):
    def __init__(self, in_channels: int, channels: int, patch_size: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(in_channels, channels, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        bottom, right = -height % self.patch_size, -width % self.patch_size
        if bottom or right:
            x = F.pad(x, (0, right, 0, bottom))
        return self.proj(x)


class _Attention(nn.Module):
    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class _Mlp(nn.Module):
    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, ratio * channels)
        self.fc2 = nn.Linear(ratio * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class ViTBlock(nn.Module):
    """Layer norm, attention, residual; layer norm, two linear layers, residual.

    Args:
        channels (int): C.
        num_heads (int): Attention heads, a divisor of C.
        mlp_ratio (int): Hidden width of the linear layers in multiples of C. Defaults to 4.
        drop_prob (float): Drop-path probability of both branches. Defaults to 0.

    Shape:
        - input and output: ``(B, N, C)``.
    """

    def __init__(
        self, channels: int, num_heads: int, mlp_ratio: int = 4, drop_prob: float = 0.0
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = _Attention(channels, num_heads)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = _Mlp(channels, mlp_ratio)
        self.drop_path = DropPath(drop_prob)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


@MODELS.register_module()
class VisionTransformer(PretrainedInitMixin, ConstructorInitModule):
    """Plain Vision Transformer that returns token maps of several depths, all of one size.

    Dosovitskiy et al., "An Image is Worth 16x16 Words" (ICLR 2021), with the taps of InvPT (Ye
    and Xu, ECCV 2022): after each quarter of the blocks, the last one behind the final layer
    norm. The class token takes part in the attention and is left out of the maps. mmseg's class
    of this name has no stochastic depth on the attention, and stores its scores.

    Parameter names are those of timm: ``cls_token``, ``pos_embed``, ``patch_embed.proj``,
    ``blocks.N.norm1 / attn.qkv / attn.proj / norm2 / mlp.fc1 / mlp.fc2``, ``norm``.

    Args:
        arch (str | dict): ``'tiny'``, ``'small'``, ``'base'``, ``'large'``, or ``dict(depth=...,
            channels=..., num_heads=...)``. Defaults to ``'base'``.
        img_size (int | tuple[int, int]): Height and width that the table of positions is made
            for. A picture of another size reads it bicubically resized. Defaults to 224.
        patch_size (int): Side of a patch, in pixels. Defaults to 16.
        in_channels (int): Channels of the picture. Defaults to 3.
        taps (Sequence[int] | None): Numbers of blocks after which a map is returned; the last
            is that of all blocks, so that nothing is computed in vain. None: 1/4, 2/4, 3/4 and
            4/4 of them.
        drop_path_rate (float): Rate of the last block; rises linearly from 0 at the first.
            Defaults to 0.
        with_cp (bool): Recompute blocks in the backward pass to save memory. Defaults to False.
        init_cfg (dict | list[dict] | None): ``dict(type='Pretrained', checkpoint=...,
            prefix=..., max_missing=..., drop=...)`` takes timm's and OpenMMLab's weights and the
            authors' ``.npz`` files. A table of positions of another grid is resized. Without it
            kernels start from a truncated normal of 0.02.

    Attributes:
        channels (tuple[int, ...]): Channels of the maps.
        strides (tuple[int, ...]): Their strides, all ``patch_size``.

    Shape:
        - input: ``(B, in_channels, H, W)``; padded with 0 at the right and bottom to whole
          patches.
        - output: tuple of ``(B, C, ceil(H / patch_size), ceil(W / patch_size))``, early to late.

    Raises:
        ValueError: If ``arch`` or ``taps`` is not as described.
        ShapeError: If the picture has another number of channels.
    """

    def __init__(
        self,
        arch: str | Mapping[str, int] = 'base',
        *,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        in_channels: int = 3,
        taps: Sequence[int] | None = None,
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        depth, channels, num_heads = _resolve_arch(arch)
        self.taps = _resolve_taps(taps, depth)
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.grid = (math.ceil(height / patch_size), math.ceil(width / patch_size))
        self.in_channels = in_channels
        self.with_cp = with_cp
        self.channels = (channels,) * len(self.taps)
        self.strides = (patch_size,) * len(self.taps)
        self.patch_embed = _PatchEmbed(in_channels, channels, patch_size)
        self.cls_token = nn.Parameter(torch.empty(1, 1, channels))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + math.prod(self.grid), channels))
        rates = [drop_path_rate * i / max(depth - 1, 1) for i in range(depth)]
        self.blocks = nn.ModuleList(ViTBlock(channels, num_heads, drop_prob=r) for r in rates)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Truncated normal of std 0.02 for kernels and positions, zero biases."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                trunc_normal_(module.weight, 0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        trunc_normal_(self.pos_embed, 0.02)
        nn.init.normal_(self.cls_token, std=1e-6)

    # A method, where the others have a static one: it needs the grid of the model.
    def convert_keys(  # type: ignore[override]
        self, state_dict: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Rename the weights of a public release, and fit its positions to the grid."""
        converted = convert_vit_keys(state_dict)
        if 'pos_embed' in converted:
            table = converted['pos_embed']
            converted['pos_embed'] = resize_position_table(table, self.grid)
        return converted

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ShapeError(
                f'VisionTransformer: input {tuple(x.shape)}, expected (B, {self.in_channels}, H, '
                'W). Set `in_channels` of the backbone to the channels of the picture.'
            )
        patches = self.patch_embed(x)
        grid = (patches.shape[-2], patches.shape[-1])
        cls_token = self.cls_token.expand(x.shape[0], -1, -1).to(patches.dtype)
        tokens = torch.cat([cls_token, to_tokens(patches)], dim=1) + self._positions(grid)
        recompute = self.with_cp and torch.is_grad_enabled()
        maps = []
        for index, block in enumerate(self.blocks, start=1):
            tokens = checkpointed(block, tokens) if recompute else block(tokens)
            if index in self.taps:
                tapped = self.norm(tokens) if index == len(self.blocks) else tokens
                maps.append(to_map(tapped[:, 1:], grid))
        return tuple(maps)

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        if grid == self.grid:
            return self.pos_embed
        with full_precision(self.pos_embed):
            return resize_position_table(self.pos_embed, grid, self.grid)


def _resolve_arch(arch: str | Mapping[str, int]) -> tuple[int, int, int]:
    if isinstance(arch, str):
        if arch not in ARCHITECTURES:
            raise ValueError(f'VisionTransformer.arch is {arch!r}. {suggest(arch, ARCHITECTURES)}')
        return ARCHITECTURES[arch]
    names = ('depth', 'channels', 'num_heads')
    if set(arch) != set(names) or arch['channels'] % arch['num_heads']:
        raise ValueError(
            f'VisionTransformer: arch={dict(arch)}, expected a name or dict(depth=..., '
            'channels=..., num_heads=...) with heads that divide the channels.'
        )
    return arch['depth'], arch['channels'], arch['num_heads']


def _resolve_taps(taps: Sequence[int] | None, depth: int) -> tuple[int, ...]:
    if taps is None:
        return tuple(sorted({math.ceil(depth * quarter / 4) for quarter in (1, 2, 3, 4)}))
    chosen = tuple(taps)
    if not chosen or list(chosen) != sorted(set(chosen)) or chosen[0] < 1 or chosen[-1] != depth:
        raise ValueError(
            f'VisionTransformer: taps={chosen}, expected rising numbers of blocks from 1 to '
            f'{depth} that end with {depth}; blocks behind the last tap would never be used. For '
            "a shorter network give `arch` a smaller 'depth'."
        )
    return chosen
