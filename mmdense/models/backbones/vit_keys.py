"""Key names of the public Vision Transformer releases."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdense.models.layers import at_least_float32

# OpenMMLab's names to timm's, which are ours. First match wins.
_OPENMMLAB = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r'^patch_embed\.projection\.', 'patch_embed.proj.'),
        (r'^layers\.(\d+)\.(?:ln|norm)([12])\.', r'blocks.\1.norm\2.'),
        (r'^layers\.(\d+)\.attn\.attn\.in_proj_', r'blocks.\1.attn.qkv.'),
        (r'^layers\.(\d+)\.attn\.attn\.out_proj\.', r'blocks.\1.attn.proj.'),
        (r'^layers\.(\d+)\.attn\.(qkv|proj)\.', r'blocks.\1.attn.\2.'),
        (r'^layers\.(\d+)\.ffn\.layers\.0\.0\.', r'blocks.\1.mlp.fc1.'),
        (r'^layers\.(\d+)\.ffn\.layers\.1\.', r'blocks.\1.mlp.fc2.'),
        (r'^(?:ln|norm)1\.', 'norm.'),
    )
)


def _transposed(kernel: Tensor) -> Tensor:
    return kernel.t()


def _image_kernel(kernel: Tensor) -> Tensor:
    """Height, width, in, out to out, in, height, width."""
    return kernel.permute(3, 2, 0, 1)


def _to_heads(kernel: Tensor) -> Tensor:
    """In, heads, width of a head to out, in."""
    return kernel.flatten(1).t()


def _from_heads(kernel: Tensor) -> Tensor:
    """Heads, width of a head, out to out, in."""
    return kernel.flatten(0, 1).t()


_ATTENTION = 'MultiHeadDotProductAttention_1/'
# The authors' names of what a block holds; queries, keys and values are packed into one.
_BLOCK: tuple[tuple[str, str, Callable[[Tensor], Tensor]], ...] = (
    ('LayerNorm_0/scale', 'norm1.weight', torch.flatten),
    ('LayerNorm_0/bias', 'norm1.bias', torch.flatten),
    (f'{_ATTENTION}query/kernel', 'attn.qkv.weight', _to_heads),
    (f'{_ATTENTION}key/kernel', 'attn.qkv.weight', _to_heads),
    (f'{_ATTENTION}value/kernel', 'attn.qkv.weight', _to_heads),
    (f'{_ATTENTION}query/bias', 'attn.qkv.bias', torch.flatten),
    (f'{_ATTENTION}key/bias', 'attn.qkv.bias', torch.flatten),
    (f'{_ATTENTION}value/bias', 'attn.qkv.bias', torch.flatten),
    (f'{_ATTENTION}out/kernel', 'attn.proj.weight', _from_heads),
    (f'{_ATTENTION}out/bias', 'attn.proj.bias', torch.flatten),
    ('LayerNorm_2/scale', 'norm2.weight', torch.flatten),
    ('LayerNorm_2/bias', 'norm2.bias', torch.flatten),
    ('MlpBlock_3/Dense_0/kernel', 'mlp.fc1.weight', _transposed),
    ('MlpBlock_3/Dense_0/bias', 'mlp.fc1.bias', torch.flatten),
    ('MlpBlock_3/Dense_1/kernel', 'mlp.fc2.weight', _transposed),
    ('MlpBlock_3/Dense_1/bias', 'mlp.fc2.bias', torch.flatten),
)


def convert_vit_keys(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a public release to those of :class:`VisionTransformer`.

    Knows three namings:

    - timm's, which is ours: passes as it is;
    - the authors' (``.npz`` files: ``embedding/kernel``, ``Transformer/encoderblock_N/...``):
      kernels are stored input first there, queries, keys and values apart;
    - OpenMMLab's (``layers.N.attn.attn.in_proj_weight``, ``layers.N.ffn.layers.0.0``).

    A ``backbone.`` prefix is removed. Classifiers (``head``, ``pre_logits``, ``fc_norm``) are
    left out.

    Args:
        state_dict (Mapping[str, Tensor]): Weights of a release.

    Returns:
        dict[str, Tensor]: Weights in the naming of timm.

    Raises:
        ValueError: If the weights have a distillation token, of which the model knows nothing.
    """
    if any(key.startswith('backbone.') for key in state_dict):
        state_dict = {
            key.removeprefix('backbone.'): value
            for key, value in state_dict.items()
            if key.startswith('backbone.')
        }
    if any(key.startswith('Transformer/') for key in state_dict):
        return _from_authors(state_dict)
    converted = {}
    for key, value in state_dict.items():
        if 'dist_token' in key:
            raise ValueError(
                f"VisionTransformer: the checkpoint has the key '{key}', so it is of a distilled "
                'network; expected one with a class token alone. Choose an undistilled release.'
            )
        if key.startswith(('head.', 'pre_logits.', 'fc_norm.')):
            continue
        for pattern, replacement in _OPENMMLAB:
            key, found = pattern.subn(replacement, key)
            if found:
                break
        converted[key] = value
    return converted


def _from_authors(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    converted = {
        'cls_token': weights['cls'],
        'pos_embed': weights['Transformer/posembed_input/pos_embedding'],
        'patch_embed.proj.weight': _image_kernel(weights['embedding/kernel']),
        'patch_embed.proj.bias': weights['embedding/bias'],
        'norm.weight': weights['Transformer/encoder_norm/scale'],
        'norm.bias': weights['Transformer/encoder_norm/bias'],
    }
    blocks = {match[1] for key in weights if (match := re.search(r'/encoderblock_(\d+)/', key))}
    for index in sorted(blocks, key=int):
        parts: dict[str, list[Tensor]] = {}
        for theirs, ours, layout in _BLOCK:
            stored = weights[f'Transformer/encoderblock_{index}/{theirs}']
            parts.setdefault(ours, []).append(layout(stored))
        converted |= {f'blocks.{index}.{name}': torch.cat(part) for name, part in parts.items()}
    return converted


def resize_position_table(
    table: Tensor, grid: tuple[int, int], stored_grid: tuple[int, int] | None = None
) -> Tensor:
    """Resize a table of learnt positions bicubically; the entry of the class token stays.

    Args:
        table (Tensor): ``(1, 1 + h * w, C)``, class token first.
        grid (tuple[int, int]): Rows and columns wanted.
        stored_grid (tuple[int, int] | None): ``(h, w)``. None: that of ``grid`` if the number
            of entries is the same, else a square.

    Returns:
        Tensor: ``(1, 1 + rows * columns, C)``; the same object if nothing changes.

    Raises:
        ValueError: If ``stored_grid`` is None, and the table is neither of the wanted length
            nor square.
    """
    length = table.shape[1] - 1
    if stored_grid is None:
        side = math.isqrt(length)
        stored_grid = grid if length == math.prod(grid) else (side, side)
        if math.prod(stored_grid) != length:
            raise ValueError(
                f'VisionTransformer: the checkpoint has {length} positions, which is neither a '
                f'square nor the grid {grid[0]}x{grid[1]} of the model. Set `img_size` of the '
                'backbone to the size that the checkpoint was trained with.'
            )
    if stored_grid == tuple(grid):
        return table
    cells = at_least_float32(table[:, 1:]).transpose(1, 2).unflatten(2, stored_grid)
    resized = F.interpolate(cells, size=grid, mode='bicubic', align_corners=False)
    return torch.cat([table[:, :1], resized.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)
