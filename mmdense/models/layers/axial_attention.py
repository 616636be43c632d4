"""Axial attention with relative positions of query, key and value.

Wang et al., "Axial-DeepLab" (ECCV 2020), in the form that kMaX-DeepLab (ECCV 2022) uses.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .batch_norm import BNSettings, eval_affine
from .conv_norm import ConvNorm
from .init import trunc_normal_
from .precision import as_parameters_of, at_least_float32, full_precision


def relative_rows(table: Tensor, length: int) -> Tensor:
    """Rows of a relative table for the offsets ``1 - length .. length - 1``.

    A slice of the table; offsets beyond its span repeat the rows at its ends. Slicing
    needs no index tensor, so there is none to cache, to move between devices, or to
    confuse the buffers of an averaged copy of the model.

    Args:
        table (Tensor): ``(2 * span - 1, d)``; row ``span - 1`` is offset 0.
        length (int): L.

    Returns:
        Tensor: ``(2L - 1, d)``.
    """
    span = (table.shape[0] + 1) // 2
    beyond = length - span
    if beyond <= 0:
        return table[span - length : span + length - 1]
    return torch.cat([table[:1].expand(beyond, -1), table, table[-1:].expand(beyond, -1)])


def relative_matrix(table: Tensor, length: int) -> Tensor:
    """``(L, L, d)``: entry ``[l, m]`` is the row of offset ``m - l``."""
    windows = relative_rows(table, length).unfold(0, length, 1)  # [i, d, m] = rows[i + m]
    return windows.flip(0).transpose(1, 2)


def offsets_to_pairs(x: Tensor) -> Tensor:
    """Read ``(..., L, 2L - 1)`` indexed by [l, offset] as ``(..., L, L)`` indexed by [l, m].

    Row l starts at column ``L - 1 - l``: in flat memory the starts are ``2L - 2`` apart, so
    one slice and one view of that width line the rows up.
    """
    length = x.shape[-2]
    if length == 1:
        return x
    width = 2 * length - 2
    flat = x.flatten(-2)[..., length - 1 : length - 1 + length * width]
    return flat.unflatten(-1, (length, width))[..., :length]


def pairs_to_offsets(x: Tensor) -> Tensor:
    """Spread ``(..., L, L)`` indexed by [l, m] over ``(..., L, 2L - 1)``, zero where no pair is.

    The inverse of :func:`offsets_to_pairs`.
    """
    length = x.shape[-1]
    if length == 1:
        return x
    padded = nn.functional.pad(x, (0, length - 2)).flatten(-2)
    return nn.functional.pad(padded, (length - 1, 1)).unflatten(-1, (length, 2 * length - 1))


class AxialAttention(nn.Module):
    """Self-attention along one axis of a map.

    Three logits per head are summed after one batch norm over all of them: content
    ``q_l . k_m``, query position ``q_l . r_q[m - l]`` and key position ``k_m . r_k[m - l]``.
    There is no ``1 / sqrt(d)``. The output adds attended values and attended value
    positions, after one batch norm over both.

    Parameters in this order: ``query_table`` ``(2 * max_span - 1, key_channels / num_heads)``,
    ``key_table`` likewise, ``value_table`` ``(2 * max_span - 1, value_channels / num_heads)``,
    row ``m - l + max_span - 1`` for query l and key m, shared by the heads;
    ``qkv.conv`` ``(2 * key_channels + value_channels, in_channels, 1, 1)``, output channels
    query, key, value, each head-major; ``qkv.bn``; ``similarity_bn`` with
    ``3 * num_heads`` channels, term-major (content, query position, key position);
    ``output_bn`` with ``2 * value_channels`` channels, content first, then position, each
    head-major.

    Args:
        in_channels (int): Input channels.
        key_channels (int): Total width of queries, and of keys.
        value_channels (int): Total width of values, and of the output.
        axis (int): The axis attended over: 2 is height (every column alone), 3 is width.
        num_heads (int): Heads. Defaults to 8.
        max_span (int): Offsets up to ``max_span - 1`` have their own table row; larger ones
            use the last. Defaults to 255.
        bn (BNSettings): Batch norm constants.
        fast (bool | None): Use the algebraically equal inference form in eval mode: batch
            norms as per-term scales, position logits from one product with the ``2L - 1``
            table rows. None: whenever gradients are off. Defaults to None.

    Shape:
        - input: ``(B, in_channels, H, W)``.
        - output: ``(B, value_channels, H, W)``, no activation.

    Raises:
        ValueError: If heads do not divide the widths, or the axis is neither 2 nor 3.
    """

    def __init__(
        self,
        in_channels: int,
        key_channels: int,
        value_channels: int,
        axis: int,
        *,
        num_heads: int = 8,
        max_span: int = 255,
        bn: BNSettings = BNSettings(),  # noqa: B008  (frozen)
        fast: bool | None = None,
    ) -> None:
        super().__init__()
        if key_channels % num_heads or value_channels % num_heads:
            raise ValueError(
                f'AxialAttention: num_heads={num_heads} must divide key_channels={key_channels} '
                f'and value_channels={value_channels}. Change the width or `num_heads`.'
            )
        if axis not in (2, 3):
            raise ValueError(f'AxialAttention: axis={axis}, expected 2 (height) or 3 (width).')
        self.widths = (key_channels, key_channels, value_channels)
        self.axis = axis
        self.num_heads = num_heads
        self.fast = fast
        rows = 2 * max_span - 1
        self.query_table = nn.Parameter(torch.empty(rows, key_channels // num_heads))
        self.key_table = nn.Parameter(torch.empty(rows, key_channels // num_heads))
        self.value_table = nn.Parameter(torch.empty(rows, value_channels // num_heads))
        self.qkv = ConvNorm(in_channels, sum(self.widths), act=False, bn=bn, init=in_channels**-0.5)
        self.similarity_bn = bn.norm2d(3 * num_heads)
        self.output_bn = bn.norm2d(2 * value_channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the relative tables."""
        for table in (self.query_table, self.key_table, self.value_table):
            trunc_normal_(table, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (self._lines(t) for t in self.qkv(x).split(self.widths, dim=1))
        if self._use_fast():
            return self._fast(query, key, value, x.shape)
        with full_precision(x):
            weights = self._weights(at_least_float32(query), at_least_float32(key))
        weights = weights.to(value.dtype)
        positions = relative_matrix(self.value_table, value.shape[-2])
        content = weights @ value
        position = torch.einsum('nhlm,lmd->nhld', weights, positions.to(weights.dtype))
        stacked = torch.cat([self._map(content, x.shape), self._map(position, x.shape)], dim=1)
        content, position = self.output_bn(stacked).chunk(2, dim=1)
        return content + position

    def _use_fast(self) -> bool:
        if self.training or self.fast is False:
            return False
        return True if self.fast else not torch.is_grad_enabled()

    def _weights(self, query: Tensor, key: Tensor) -> Tensor:
        """Attention ``(N, heads, L, L)`` over keys, term by term as the paper states it."""
        length = query.shape[-2]
        by_query = relative_matrix(at_least_float32(self.query_table), length)
        by_key = relative_matrix(at_least_float32(self.key_table), length)
        content = query @ key.transpose(-1, -2)
        query_position = torch.einsum('nhld,lmd->nhlm', query, by_query)
        key_position = torch.einsum('nhmd,lmd->nhlm', key, by_key)
        stacked = torch.cat([content, query_position, key_position], dim=1)
        terms = self.similarity_bn(as_parameters_of(self.similarity_bn, stacked))
        return at_least_float32(terms.unflatten(1, (3, self.num_heads)).sum(1)).softmax(-1)

    def _fast(self, query: Tensor, key: Tensor, value: Tensor, size: torch.Size) -> Tensor:
        length = query.shape[-2]
        with full_precision(query):
            query, key = at_least_float32(query), at_least_float32(key)
            # The shift of the batch norm is one constant per head: the softmax ignores it.
            scale, _ = eval_affine(self.similarity_bn)
            content, by_query, by_key = scale.view(3, self.num_heads, 1, 1)
            logits = (query * content) @ key.transpose(-1, -2)
            rows = relative_rows(at_least_float32(self.query_table), length)
            logits = logits + offsets_to_pairs((query * by_query) @ rows.t())
            # Offsets m - l seen from the key run backwards, hence the flip.
            rows = relative_rows(at_least_float32(self.key_table), length).flip(0)
            by_key_position = offsets_to_pairs((key * by_key) @ rows.t())
            weights = (logits + by_key_position.transpose(-1, -2)).softmax(-1)
        weights = weights.to(value.dtype)
        rows = relative_rows(self.value_table, length).to(weights.dtype)
        scale, shift = (t.to(value.dtype) for t in eval_affine(self.output_bn))
        scale = scale.view(2, self.num_heads, 1, -1)
        shift = shift.view(2, self.num_heads, 1, -1).sum(0)
        content = weights @ value
        position = pairs_to_offsets(weights) @ rows
        return self._map(content * scale[0] + position * scale[1] + shift, size)

    def _lines(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B * other axis, heads, L, C / heads)``."""
        x = x.unflatten(1, (self.num_heads, -1))
        order = (0, 4, 1, 3, 2) if self.axis == 2 else (0, 3, 1, 4, 2)
        return x.permute(order).flatten(0, 1)

    def _map(self, x: Tensor, size: torch.Size) -> Tensor:
        """The inverse of :meth:`_lines`; ``size`` is that of the map."""
        x = x.unflatten(0, (size[0], -1))
        order = (0, 2, 4, 3, 1) if self.axis == 2 else (0, 2, 4, 1, 3)
        return x.permute(order).flatten(1, 2)
