"""Swin Transformer, version 2."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmdense.models.layers import (
    ConstructorInitModule,
    CosineWindowAttention,
    DropPath,
    from_windows,
    shifted_apart,
    to_windows,
    trunc_normal_,
)
from mmdense.models.utils import PretrainedInitMixin
from mmdense.registry import MODELS
from mmdense.utils import ShapeError, suggest

from .swin_v2_keys import convert_swin_v2_keys

#: Name to embedding width, depths and heads of the stages, and the drop-path rate of torchvision.
ARCHITECTURES: dict[str, tuple[int, tuple[int, ...], tuple[int, ...], float]] = {
    'tiny': (96, (2, 2, 6, 2), (3, 6, 12, 24), 0.2),
    'small': (96, (2, 2, 18, 2), (3, 6, 12, 24), 0.3),
    'base': (128, (2, 2, 18, 2), (4, 8, 16, 32), 0.5),
}
_PATCH = 4


def _pad_to(x: Tensor, multiple: int) -> Tensor:
    """Zeros below and on the right of ``(B, H, W, C)``, up to multiples of both sides."""
    down, right = -x.shape[1] % multiple, -x.shape[2] % multiple
    return F.pad(x, (0, 0, 0, right, 0, down)) if down or right else x


class SwinV2Block(nn.Module):
    """Window attention and a two-layer network, each with a layer norm behind it.

    Swin V2, section 3.2 and figure 1: the norm stands at the end of the residual branch.

    Args:
        channels (int): C.
        num_heads (int): Attention heads.
        window_size (int): Side of a window.
        pretrained_window_size (int | None): See :class:`CosineWindowAttention`.
        shifted (bool): Whether windows are shifted by half their side.
        drop_prob (float): Drop-path probability. Defaults to 0.
        mlp_ratio (float): Hidden width of the network, in C. Defaults to 4.

    Shape:
        - x: ``(B, H, W, C)``, of any size.
        - exclusion: ``(M, N, N)`` for the M windows, if they are shifted; see ``_Stage``.
        - output: as ``x``.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        window_size: int,
        pretrained_window_size: int | None = None,
        *,
        shifted: bool = False,
        drop_prob: float = 0.0,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        self.shifted = shifted
        self.attn = CosineWindowAttention(channels, num_heads, window_size, pretrained_window_size)
        self.norm1 = nn.LayerNorm(channels)
        hidden = int(channels * mlp_ratio)
        self.mlp = nn.ModuleDict(
            dict(fc1=nn.Linear(channels, hidden), fc2=nn.Linear(hidden, channels))
        )
        self.norm2 = nn.LayerNorm(channels)
        self.drop_path = DropPath(drop_prob)

    def forward(self, x: Tensor, exclusion: Tensor | None = None) -> Tensor:
        x = x + self.drop_path(self.norm1(self._attend(x, exclusion)))
        y = self.mlp['fc2'](F.gelu(self.mlp['fc1'](x)))
        return x + self.drop_path(self.norm2(y))

    def _attend(self, x: Tensor, exclusion: Tensor | None) -> Tensor:
        side = self.attn.window_size
        height, width = x.shape[1:3]
        x = _pad_to(x, side)
        size = (x.shape[1], x.shape[2])
        rows, columns = shift_of(size, side) if self.shifted else (0, 0)
        if rows or columns:
            x = x.roll((-rows, -columns), (1, 2))
        x = from_windows(self.attn(to_windows(x, side), exclusion), size, side)
        if rows or columns:
            x = x.roll((rows, columns), (1, 2))
        return x[:, :height, :width]


def shift_of(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Half a window along each axis of a padded map, none along one of a single window."""
    rows, columns = (side // 2 if length > side else 0 for length in size)
    return rows, columns


class PatchMerging(nn.Module):
    """Every 2x2 patches become one of twice the width: linear layer, then layer norm.

    Patches are concatenated in the order (0, 0), (1, 0), (0, 1), (1, 1) of (row, column), as in
    torchvision and in the authors' code.

    Shape:
        - input: ``(B, H, W, C)``.
        - output: ``(B, ceil(H / 2), ceil(W / 2), 2C)``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        x = _pad_to(x, 2).unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
        return self.norm(self.reduction(x.permute(0, 1, 3, 4, 2, 5).flatten(3)))


class _PatchEmbed(nn.Module):
    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, _PATCH, stride=_PATCH)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, -x.shape[3] % _PATCH, 0, -x.shape[2] % _PATCH))
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class _Stage(nn.Module):
    """Patch merging, if it is not the first, and blocks whose every second has shifted windows."""

    def __init__(self, merging: PatchMerging | None, blocks: Sequence[SwinV2Block]) -> None:
        super().__init__()
        self.downsample = merging
        self.blocks = nn.ModuleList(blocks)
        self.side = blocks[0].attn.window_size

    def forward(self, x: Tensor, excluded: float, recompute: bool) -> Tensor:
        if self.downsample is not None:
            x = self.downsample(x)
        exclusion = self._exclusion(x, excluded) if len(self.blocks) > 1 else None
        for block in self.blocks:
            args = (x, exclusion if block.shifted else None)
            x = checkpoint(block, *args, use_reentrant=False) if recompute else block(*args)
        return x

    def _exclusion(self, x: Tensor, excluded: float) -> Tensor | None:
        """What the scores of tokens that the shift brought together get, for all blocks at once."""
        height, width = (length + -length % self.side for length in x.shape[1:3])
        shift = shift_of((height, width), self.side)
        if not any(shift):
            return None
        apart = shifted_apart((height, width), self.side, shift, x.device)
        zeros = torch.zeros(apart.shape, device=x.device)
        return zeros.masked_fill(apart, excluded)


@MODELS.register_module()
class SwinV2(PretrainedInitMixin, ConstructorInitModule):
    """Swin Transformer V2 (Liu et al., CVPR 2022, arXiv 2111.09883).

    Patches of 4, residual branches with the norm behind them, scaled cosine attention, position
    biases from log-spaced offsets. Pictures of any size: they, and the maps of each stage, are
    padded by zeros on the right and below, and padding takes part in the attention of its
    window, as in torchvision.

    torchvision's ``swin_v2_t``, ``swin_v2_s`` and ``swin_v2_b`` and the authors' releases load as
    they are. Parameters without the classifier are those of torchvision: 27,582,570, 48,968,442
    and 86,905,848 for the three. A small part of them, the key part of each ``qkv.bias``, is
    stored there and not used.

    Differs from torchvision: pictures whose sides are no multiples of 4 are padded, not cut.

    Args:
        arch (str | Mapping): ``'tiny'``, ``'small'``, ``'base'``, or ``dict(embed_dims=...,
            depths=(...), num_heads=(...))``. Defaults to ``'tiny'``.
        in_channels (int): Channels of the picture. Defaults to 3.
        window_size (int | Sequence[int]): Side of a window in patches, of all stages or of each.
            Where a map is smaller than a window the authors make the window smaller: their
            releases of window 16 for 256x256 have (16, 16, 16, 8). Defaults to 8.
        pretrained_window_size (int | Sequence[int] | None): Sides of the windows that the weights
            were trained with, where they were others. None: ``window_size``. Defaults to None.
        drop_path_rate (float | None): Drop-path probability of the last block, growing linearly
            from 0. None: torchvision's, 0.2, 0.3 and 0.5; 0 for an ``arch`` of one's own.
        out_indices (Sequence[int]): Stages to return; later ones are not built. Defaults to
            (0, 1, 2, 3).
        output_norm (str): ``'last'``: a layer norm on the last stage, if it is returned, as in
            torchvision's classifier. ``'all'``: one on each returned map; those but the last are
            not in the releases, name them in ``init_cfg.drop`` (``r'^norm[0-2]'``). Defaults
            to ``'last'``.
        excluded_score (float): Added to the score of two tokens that only the shift of the
            windows brought together. -inf excludes them. The releases were trained with -100,
            which scores of large ``logit_scale``, up to 116, reach. Defaults to -inf.
        with_cp (bool): Recompute blocks in the backward pass to save memory. Defaults to False.
        init_cfg (dict | list[dict] | None): ``dict(type='Pretrained', checkpoint=...,
            prefix=..., max_missing=..., drop=...)``, or any initialiser of mmengine.

    Attributes:
        channels (tuple[int, ...]): Channels of the returned maps, fine to coarse.
        strides (tuple[int, ...]): Their strides, of 4 to 32.

    Shape:
        - input: ``(B, in_channels, H, W)``.
        - output: tuple of ``(B, C_i, ceil(H / s_i), ceil(W / s_i))``, fine to coarse.

    Raises:
        ValueError: If ``arch``, ``out_indices``, ``output_norm`` or a window size is impossible.
        ShapeError: If the picture has another number of channels.
    """

    convert_keys = staticmethod(convert_swin_v2_keys)

    def __init__(
        self,
        arch: str | Mapping[str, Any] = 'tiny',
        *,
        in_channels: int = 3,
        window_size: int | Sequence[int] = 8,
        pretrained_window_size: int | Sequence[int] | None = None,
        drop_path_rate: float | None = None,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        output_norm: str = 'last',
        excluded_score: float = -math.inf,
        with_cp: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        width, depths, heads, rate = _resolve_arch(arch)
        stages = len(depths)
        if not out_indices or not set(out_indices) <= set(range(stages)):
            raise ValueError(
                f'SwinV2.out_indices is {tuple(out_indices)}; choose stages of 0 to {stages - 1}.'
            )
        if output_norm not in ('last', 'all'):
            raise ValueError(f"SwinV2.output_norm is {output_norm!r}; choose 'last' or 'all'.")
        self.in_channels = in_channels
        self.out_indices = tuple(sorted(out_indices))
        self.excluded_score = excluded_score
        self.with_cp = with_cp
        widths = [width * 2**i for i in range(stages)]
        self.channels = tuple(widths[i] for i in self.out_indices)
        self.strides = tuple(_PATCH * 2**i for i in self.out_indices)
        self.patch_embed = _PatchEmbed(in_channels, width)
        rates = _linear_rates(rate if drop_path_rate is None else drop_path_rate, depths)
        windows = _per_stage('window_size', window_size, stages)
        trained = _per_stage('pretrained_window_size', pretrained_window_size or windows, stages)
        self.stages = nn.ModuleList()
        for i in range(self.out_indices[-1] + 1):
            blocks = [
                SwinV2Block(
                    widths[i], heads[i], windows[i], trained[i], shifted=j % 2 == 1, drop_prob=p
                )
                for j, p in enumerate(rates[i])
            ]
            self.stages.append(_Stage(PatchMerging(widths[i - 1]) if i else None, blocks))
        for i in self.out_indices:
            if output_norm == 'all' or i == stages - 1:
                self.add_module(f'norm{i}', nn.LayerNorm(widths[i]))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Truncated normal of std 0.02 for linear layers, as the authors train from scratch."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, 0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ShapeError(
                f'SwinV2: input {tuple(x.shape)}, expected (B, {self.in_channels}, H, W). Set '
                '`in_channels` of the backbone to the channels of the picture.'
            )
        x = self.patch_embed(x)
        recompute = self.with_cp and torch.is_grad_enabled()
        outs = []
        for i, stage in enumerate(self.stages):
            x = stage(x, self.excluded_score, recompute)
            if i in self.out_indices:
                norm = getattr(self, f'norm{i}', None)
                outs.append((x if norm is None else norm(x)).permute(0, 3, 1, 2))
        return tuple(outs)


def _resolve_arch(
    arch: str | Mapping[str, Any],
) -> tuple[int, tuple[int, ...], tuple[int, ...], float]:
    if isinstance(arch, str):
        if arch not in ARCHITECTURES:
            raise ValueError(f'SwinV2.arch is {arch!r}. {suggest(arch, ARCHITECTURES)}')
        return ARCHITECTURES[arch]
    keys = {'embed_dims', 'depths', 'num_heads'}
    depths, heads = tuple(arch.get('depths', ())), tuple(arch.get('num_heads', ()))
    if set(arch) != keys or not depths or len(depths) != len(heads):
        raise ValueError(
            f'SwinV2.arch is {dict(arch)}; give a name, or dict(embed_dims=..., depths=(...), '
            'num_heads=(...)) with one entry per stage in the last two.'
        )
    return arch['embed_dims'], depths, heads, 0.0


def _linear_rates(rate: float, depths: Sequence[int]) -> list[list[float]]:
    """Drop-path probabilities by stage and block, from 0 to ``rate`` over all blocks."""
    last = max(sum(depths) - 1, 1)
    firsts = [sum(depths[:i]) for i in range(len(depths))]
    return [[rate * (first + j) / last for j in range(n)] for first, n in zip(firsts, depths)]


def _per_stage(name: str, value: int | Sequence[int], stages: int) -> tuple[int, ...]:
    values = (value,) * stages if isinstance(value, int) else tuple(value)
    if len(values) != stages or min(values) < 1:
        raise ValueError(
            f'SwinV2.{name} is {value}; give a positive number, or one for each of the {stages} '
            'stages.'
        )
    return values
