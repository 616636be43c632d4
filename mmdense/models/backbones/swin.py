"""Swin Transformer with its sizes known by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmseg.models.backbones import SwinTransformer as MMSegSwin
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mmdense.models.layers import trunc_normal_
from mmdense.models.utils import PretrainedInitMixin
from mmdense.registry import MODELS
from mmdense.utils import suggest

#: Name to embedding width, depths and heads of the four stages.
ARCHITECTURES: dict[str, tuple[int, tuple[int, ...], tuple[int, ...]]] = {
    'tiny': (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    'small': (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    'base': (128, (2, 2, 18, 2), (4, 8, 16, 32)),
    'large': (192, (2, 2, 18, 2), (6, 12, 24, 48)),
}

# The authors' names to mmseg's; our own are mmseg's. First match wins.
_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r'^patch_embed\.proj\.', 'patch_embed.projection.'),
        (r'^layers\.(\d)\.blocks\.(\d+)\.attn\.', r'stages.\1.blocks.\2.attn.w_msa.'),
        (r'^layers\.(\d)\.blocks\.(\d+)\.mlp\.fc1\.', r'stages.\1.blocks.\2.ffn.layers.0.0.'),
        (r'^layers\.(\d)\.blocks\.(\d+)\.mlp\.fc2\.', r'stages.\1.blocks.\2.ffn.layers.1.'),
        (r'^layers\.(\d)\.', r'stages.\1.'),
    )
)


def convert_swin_keys(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of an authors' Swin release to those of :class:`SwinTransformer`.

    Weights in mmseg's naming (``stages.N...``) pass as they are. The merging of 2x2 patches
    concatenates them position by position in the authors' code, in the order (0, 0), (1, 0),
    (0, 1), (1, 1) of (row, column), and channel by channel, row by row, in mmseg's; weights
    and norms of the merging are permuted accordingly. A ``backbone.`` prefix is removed;
    classifiers and attention masks are left out.

    Args:
        state_dict (dict[str, Tensor]): Weights of a release.

    Returns:
        dict[str, Tensor]: Weights in mmseg's naming.
    """
    if any(key.startswith('backbone.') for key in state_dict):
        state_dict = {
            key.removeprefix('backbone.'): value
            for key, value in state_dict.items()
            if key.startswith('backbone.')
        }
    if not any(key.startswith('layers.') for key in state_dict):
        return dict(state_dict)
    converted: dict[str, Tensor] = {}
    for key, value in state_dict.items():
        if key.startswith(('head.', 'norm.')) or key.endswith('attn_mask'):
            continue
        if '.downsample.' in key:
            parts = value.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :]
            value = parts.transpose(-1, -2).flatten(-2)
        for pattern, replacement in _RULES:
            key, found = pattern.subn(replacement, key)
            if found:
                break
        converted[key] = value
    return converted


class _RealLinspace(TorchFunctionMode):
    """Keeps ``torch.linspace`` off the meta device, where mmseg could not read drop rates."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func is torch.linspace:
            options['device'] = 'cpu'
        return func(*args, **options)


class _PlainInitSwin(MMSegSwin):
    """mmseg's Swin initialised as any other module of mmengine, by its ``init_cfg``."""

    def init_weights(self) -> None:
        BaseModule.init_weights(self)


@MODELS.register_module()
class SwinTransformer(PretrainedInitMixin, _PlainInitSwin):
    """mmseg's Swin Transformer (Liu et al., "Swin Transformer: Hierarchical Vision Transformer
    using Shifted Windows", ICCV 2021) under the names of its sizes.

    Patches of 4, windows of 7, a layer norm on each of the four outputs. Weights of mmseg and
    of the authors load as they are. Without ``init_cfg`` linear weights and position biases are
    drawn from a truncated normal of 0.02.

    Args:
        arch (str): ``'tiny'``, ``'small'``, ``'base'`` or ``'large'``.
        window_size (int): Side of a window in patches. Defaults to 7.
        drop_path_rate (float): Drop-path probability of the last block, growing linearly
            from 0. Defaults to 0.1.
        init_cfg (dict | list[dict] | None): ``dict(type='Pretrained', checkpoint=...,
            prefix=..., max_missing=..., drop=...)``, or any initialiser of mmengine. The
            norms of the outputs, ``norm[0-3]``, are not in classification weights: name them
            in ``drop``.
        **kwargs: Further arguments of mmseg's SwinTransformer, such as ``with_cp``.

    Attributes:
        channels (tuple[int, ...]): Channels of the four maps, fine to coarse.
        strides (tuple[int, ...]): Their strides, 4 to 32.

    Shape:
        - input: ``(B, 3, H, W)``.
        - output: tuple of ``(B, C_i, ceil(H / s_i), ceil(W / s_i))``, fine to coarse.

    Raises:
        ValueError: If ``arch`` is unknown.
    """

    strides = (4, 8, 16, 32)
    convert_keys = staticmethod(convert_swin_keys)

    def __init__(
        self,
        arch: str = 'tiny',
        *,
        window_size: int = 7,
        drop_path_rate: float = 0.1,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        if arch not in ARCHITECTURES:
            raise ValueError(f'SwinTransformer.arch is {arch!r}. {suggest(arch, ARCHITECTURES)}')
        width, depths, heads = ARCHITECTURES[arch]
        with _RealLinspace():
            super().__init__(
                embed_dims=width,
                depths=depths,
                num_heads=heads,
                window_size=window_size,
                drop_path_rate=drop_path_rate,
                init_cfg=init_cfg,
                **kwargs,
            )
        self.arch = arch
        self.channels = tuple(width * 2**i for i in range(4))

    def init_weights(self) -> None:
        if not self.is_init:
            self._init_from_scratch()
        super().init_weights()

    def _init_from_scratch(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, 0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            table = getattr(module, 'relative_position_bias_table', None)
            if table is not None:
                trunc_normal_(table, 0.02)
            # mmengine initialises children after the parent, that is over pretrained weights.
            if isinstance(module, BaseModule) and module is not self:
                module._is_init = True

    def train(self, mode: bool = True) -> SwinTransformer:
        super().train(mode)
        return self  # mmseg's returns None, which breaks `model.eval()(x)`

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(super().forward(x))
