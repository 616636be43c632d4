"""Parts of other packages in a form that a tracer can follow, for as long as it traces."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from mmseg.models.backbones.swin import ShiftWindowMSA
from torch import Tensor

from .wrapper import Size


@contextmanager
def traceable_parts() -> Iterator[None]:
    """Exchange what would fix the batch, or cannot be traced at all.

    mmsegmentation's Swin blocks put their windows together for ``int(windows / (H * W / side /
    side))`` pictures, which makes a number of the batch. mmdetection's pixel decoder of Mask2Former
    keeps the sizes of its maps in tensors, whose values a tracer does not know.
    """
    with ExitStack() as stack:
        stack.enter_context(patch.object(ShiftWindowMSA, 'window_reverse', _window_reverse))
        # Loaded where a model has one; it imports compiled operators.
        layers = sys.modules.get('mmdet.models.layers')
        if layers is not None:
            decoder = layers.MSDeformAttnPixelDecoder
            stack.enter_context(patch.object(decoder, 'forward', pixel_decoder))
        yield


def _window_reverse(self: Any, windows: Tensor, height: int, width: int) -> Tensor:
    """``(B * windows, side, side, C)`` to ``(B, height, width, C)``."""
    side = self.window_size
    rows, columns = height // side, width // side
    x = windows.unflatten(0, (-1, rows, columns))
    return x.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2)


def pixel_decoder(self: Any, feats: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """``MSDeformAttnPixelDecoder.forward`` with sizes that are plain numbers.

    Mask2Former's pixel decoder: the coarse maps attend to each other by multi-scale deformable
    attention (Deformable DETR, eq. 3); the finer ones join from the top down.

    Args:
        self (MSDeformAttnPixelDecoder): Whose layers are used.
        feats (Sequence[Tensor]): Maps ``(B, C_i, h, w)``, fine to coarse.

    Returns:
        tuple: The finest map, projected, and the coarsest ``num_outs`` maps, coarse to fine.
    """
    tokens, positions, centers, sizes = [], [], [], []
    for level in range(self.num_encoder_levels):
        x = self.input_convs[level](feats[self.num_input_levels - 1 - level])
        size = (x.shape[-2], x.shape[-1])
        place = self.postional_encoding(x.new_zeros((1, *size), dtype=torch.bool))
        place = place + self.level_encoding.weight[level][:, None, None]
        tokens.append(x.flatten(2).transpose(1, 2))
        positions.append(place.flatten(2).transpose(1, 2))
        centers.append(_cell_centers(size, x))
        sizes.append(size)
    x, position, center = torch.cat(tokens, 1), torch.cat(positions, 1), torch.cat(centers)
    for layer in self.encoder.layers:
        x = layer.norms[0](deformable_attention(layer.self_attn, x, position, center, sizes))
        x = layer.norms[1](layer.ffn(x))
    maps = [
        part.transpose(1, 2).unflatten(2, size)
        for part, size in zip(x.split([h * w for h, w in sizes], 1), sizes)
    ]
    for index in reversed(range(self.num_input_levels - self.num_encoder_levels)):
        fine = self.lateral_convs[index](feats[index])
        coarse = F.interpolate(maps[-1], fine.shape[-2:], mode='bilinear', align_corners=False)
        maps.append(self.output_convs[index](fine + coarse))
    return self.mask_feature(maps[-1]), maps[: self.num_outs]


def _cell_centers(size: Size, like: Tensor) -> Tensor:
    """X and y ``(h * w, 2)`` of the pixel centres of a map, in [0, 1], row by row."""
    rows, columns = (
        (torch.arange(side, dtype=like.dtype, device=like.device) + 0.5) / side for side in size
    )
    y, x = torch.meshgrid(rows, columns, indexing='ij')
    return torch.stack((x.flatten(), y.flatten()), 1)


def deformable_attention(
    attention: Any, x: Tensor, position: Tensor, center: Tensor, sizes: Sequence[Size]
) -> Tensor:
    """``MultiScaleDeformableAttention`` of a set of maps to themselves, with its shortcut.

    Args:
        attention (MultiScaleDeformableAttention): Whose layers are used.
        x (Tensor): Tokens ``(B, N, C)`` of all maps, one after the other.
        position (Tensor): ``(1, N, C)``, added to the queries.
        center (Tensor): ``(N, 2)``, where each token is, x and y in [0, 1].
        sizes (Sequence[tuple[int, int]]): Height and width of each map.

    Returns:
        Tensor: ``(B, N, C)``.
    """
    heads = attention.num_heads
    query = x + position
    value = attention.value_proj(x).unflatten(2, (heads, -1))
    split = (heads, len(sizes), -1)
    offset = attention.sampling_offsets(query).unflatten(2, (*split, 2))
    weight = attention.attention_weights(query).unflatten(2, (heads, -1)).softmax(-1)
    weight = weight.unflatten(3, (len(sizes), -1))
    parts = value.split([h * w for h, w in sizes], 1)
    total: Tensor | None = None
    for level, (part, (height, width)) in enumerate(zip(parts, sizes)):
        # Pixels of this level to [-1, 1], heads beside the batch.
        cell = torch.tensor([width, height], dtype=x.dtype, device=x.device)
        grid = 2 * (center[:, None, None] + offset[:, :, :, level] / cell) - 1
        maps = part.permute(0, 2, 3, 1).flatten(0, 1).unflatten(2, (height, width))
        sampled = F.grid_sample(maps, grid.transpose(1, 2).flatten(0, 1), align_corners=False)
        share = weight[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, None]
        mean = (sampled * share).sum(-1)
        total = mean if total is None else total + mean
    if total is None:
        raise ValueError('deformable_attention: `sizes` is empty; give one size per map.')
    mixed = total.unflatten(0, (-1, heads)).flatten(1, 2).transpose(1, 2)
    result: Tensor = attention.output_proj(mixed) + x
    return result
