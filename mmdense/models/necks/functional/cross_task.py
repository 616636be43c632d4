"""Cross-task affinity of CTAL in two equal forms: explicit, and of linear memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_weight
from torch.utils.checkpoint import checkpoint

from mmdense.models.losses.functional import full_precision
from mmdense.ops.onnx import exporting
from mmdense.utils import ShapeError

IMPLEMENTATIONS = ('auto', 'explicit', 'factorised')
# Bytes of weighted tokens per picture and step over tokens: large enough for matrix products
# to run at full speed, small beside the features (10 MiB per picture at 72 x 96 tokens, T = 3).
_BLOCK_BYTES = 4 * 2**20


def choose_implementation(tasks: int, tokens: int, channels: int, filter_size: int = 1) -> str:
    """The cheaper form, by multiplications.

    They break even at N = T f^2 C tokens: explicit costs 2 T N^2 C, factorised
    2 T^2 f^2 N C^2. Within a fifth of it the one that needs less memory.

    Args:
        tasks (int): T.
        tokens (int): N.
        channels (int): C.
        filter_size (int): f; 1 where one kernel serves all tokens, whatever its size.

    Returns:
        str: ``'explicit'`` or ``'factorised'``.
    """
    return 'explicit' if tokens < 0.8 * tasks * filter_size**2 * channels else 'factorised'


def cross_task_affinity(
    tokens: Tensor, values: Tensor, kernel: Tensor, bias: Tensor, impl: str = 'auto'
) -> Tensor:
    """Values of every task gathered by the joint affinity of all tasks.

    Sinodinos & Armanfard, "Cross-Task Affinity Learning for Multitask Dense Scene
    Predictions" (WACV 2025). With ``A_u[i, j] = <tokens_u(i), tokens_u(j)>``,

    ``G_t[i, j] = bias_t[i] + sum_u sum_d kernel_t[i, u, d] A_u[i, j + d]`` and
    ``out_t(i) = sum_j values_t(j) G_t[i, j]``,

    where d runs over an f x f window and A is 0 outside the grid. No softmax, no scaling: the
    sum grows with the number of tokens. Computed in float32 or wider under autocast as well.

    Args:
        tokens (Tensor): ``(B, T, C, H, W)``; of unit length over C in the paper.
        values (Tensor): ``(B, T, C, H, W)``.
        kernel (Tensor): ``(J, N, T, f, f)``, f odd, N = H * W tokens row by row, or 1 for one
            kernel for all tokens. J is T, or 1 for one affinity for all tasks.
        bias (Tensor): ``(J, N)`` or ``(J, 1)``.
        impl (str): ``'explicit'``, ``'factorised'``, or ``'auto'``, the cheaper one.

    Returns:
        Tensor: ``(B, T, C, H, W)`` in the dtype of ``values``.

    Raises:
        ShapeError: If the shapes do not fit each other.
        ValueError: If ``impl`` is unknown.
    """
    if impl not in IMPLEMENTATIONS:
        raise ValueError(
            f'cross_task_affinity: impl is {impl!r}; choose one of '
            f'{", ".join(map(repr, IMPLEMENTATIONS))}.'
        )
    if impl == 'auto':
        _, tasks, channels, height, width = tokens.shape
        window = kernel.shape[-1] if kernel.shape[1] > 1 else 1
        impl = choose_implementation(tasks, height * width, channels, window)
    if impl == 'explicit':
        return cross_task_affinity_explicit(tokens, values, kernel, bias)
    return cross_task_affinity_factorised(tokens, values, kernel, bias)


def joint_affinity(
    tokens: Tensor, kernel: Tensor, bias: Tensor, rows: slice = slice(None)
) -> list[Tensor]:
    """The joint affinity G itself, to look at or to work on.

    One depthwise convolution per source task, summed up, is the grouped convolution of the
    paper without the interleaving of its input.

    Args:
        tokens (Tensor): ``(B, T, C, H, W)``.
        kernel (Tensor): ``(J, N, T, f, f)`` or ``(J, 1, T, f, f)``.
        bias (Tensor): ``(J, N)`` or ``(J, 1)``.
        rows (slice): Tokens i whose rows are wanted. Defaults to all.

    Returns:
        list[Tensor]: J tensors ``(B, rows, N)``.
    """
    size = tokens.shape[-2:]
    flat = tokens.flatten(3)
    count, sources = flat.shape[-1], flat.shape[1]
    kernel = kernel.expand(-1, count, -1, -1, -1)[:, rows]
    bias = bias.expand(-1, count)[:, rows]
    joint: list[Tensor] = []
    for u in range(sources):
        gram = (flat[:, u, :, rows].mT @ flat[:, u]).unflatten(2, size)
        for j, (weight, shift) in enumerate(zip(kernel, bias)):
            term = F.conv2d(
                gram,
                weight[:, u : u + 1],
                shift if u == 0 else None,
                padding=kernel.shape[-1] // 2,
                groups=kernel.shape[1],
            )
            if u == 0:
                joint.append(term)
            else:
                joint[j] += term
    return [affinity.flatten(2) for affinity in joint]


def cross_task_affinity_explicit(
    tokens: Tensor,
    values: Tensor,
    kernel: Tensor,
    bias: Tensor,
    block_rows: int | None = None,
) -> Tensor:
    """:func:`cross_task_affinity` by its definition, with N x N matrices.

    Args:
        tokens (Tensor): As for :func:`cross_task_affinity`, as are the next three.
        values (Tensor): ``(B, T, C, H, W)``.
        kernel (Tensor): ``(J, N, T, f, f)``.
        bias (Tensor): ``(J, N)``.
        block_rows (int | None): So many rows of the matrices at a time, computed once more in
            the backward pass: memory ``T * N * block_rows`` for N^2. None: all at once.

    Returns:
        Tensor: ``(B, T, C, H, W)``.
    """
    _check(tokens, values, kernel, bias)
    kind = values.dtype
    with full_precision(tokens):
        tokens, values, kernel, bias = _widened(tokens, values, kernel, bias)
        count = tokens.shape[-2] * tokens.shape[-1]
        if block_rows is None:
            return (
                _gather(tokens, values, kernel, bias, 0, count)
                .unflatten(3, tokens.shape[-2:])
                .to(kind)
            )
        parts = []
        for start in range(0, count, block_rows):
            inputs = (tokens, values, kernel, bias, start, min(start + block_rows, count))
            if torch.is_grad_enabled():
                parts.append(checkpoint(_gather, *inputs, use_reentrant=False))
            else:
                parts.append(_gather(*inputs))
        return torch.cat(parts, -1).unflatten(3, tokens.shape[-2:]).to(kind)


def _gather(
    tokens: Tensor, values: Tensor, kernel: Tensor, bias: Tensor, start: int, stop: int
) -> Tensor:
    """Tokens ``start`` to ``stop - 1`` of the result: ``(B, T, C, stop - start)``."""
    joint = joint_affinity(tokens, kernel, bias, slice(start, stop))
    groups = values.flatten(3).unflatten(1, (len(joint), -1)).flatten(2, 3)
    out = [groups[:, j] @ affinity.mT for j, affinity in enumerate(joint)]
    return torch.cat(out, 1).unflatten(1, tuple(tokens.shape[1:3]))


def cross_task_affinity_factorised(
    tokens: Tensor, values: Tensor, kernel: Tensor, bias: Tensor
) -> Tensor:
    """:func:`cross_task_affinity` without any N x N matrix; exact.

    Nothing stands between the Gram matrices and the values, so that the sum over j can go
    first: ``S_{u,d,t} = sum_j tokens_u(j + d) values_t(j)^T`` (C x C), then
    ``sum_{u,d} kernel_t[i, u, d] S_{u,d,t}^T tokens_u(i) + bias_t[i] sum_j values_t(j)``.
    S is the gradient of an f x f convolution with respect to its weight, and is computed as
    such: no unfolded copy of the tokens. The tokens weighted by ``kernel`` exist for a block of
    tokens at a time, and again in the backward pass.

    Args:
        tokens (Tensor): As for :func:`cross_task_affinity`, as are the next three.
        values (Tensor): ``(B, T, C, H, W)``.
        kernel (Tensor): ``(J, N, T, f, f)``.
        bias (Tensor): ``(J, N)``.

    Returns:
        Tensor: ``(B, T, C, H, W)``.
    """
    _check(tokens, values, kernel, bias)
    kind = values.dtype
    with full_precision(tokens):
        tokens, values, kernel, bias = _widened(tokens, values, kernel, bias)
        if kernel.shape[1] == 1:
            return _one_kernel(tokens, values, kernel, bias).to(kind)
        out: Tensor = _KernelPerToken.apply(tokens, values, kernel, bias)
        return out.to(kind)


def _one_kernel(tokens: Tensor, values: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """The factorised form where one kernel serves all tokens: it filters the tokens j at once."""
    maps = tokens.flatten(1, 2)
    channels, window = tokens.shape[2], kernel.shape[-1]
    groups = values.flatten(3).unflatten(1, (len(kernel), -1)).flatten(2, 3)
    out = []
    for j, weight in enumerate(kernel[:, 0]):
        taps = weight.repeat_interleave(channels, 0)[:, None]
        filtered = F.conv2d(maps, taps, padding=window // 2, groups=len(taps)).flatten(2)
        total = groups[:, j].sum(-1, keepdim=True)
        out.append(groups[:, j] @ filtered.mT @ maps.flatten(2) + bias[j] * total)
    return torch.cat(out, 1).view(values.shape)


class _KernelPerToken(torch.autograd.Function):
    """The factorised form with a kernel of its own for every token.

    Written by hand for memory: autograd would keep the weighted tokens, T f^2 C N numbers per
    joint affinity. What is kept here are the inputs and S.
    """

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, values: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        tokens, values = tokens.contiguous(), values.contiguous()
        weights = _taps_first(kernel)
        sums = _correlations(tokens, values, kernel.shape[-1], len(kernel))
        totals = values.flatten(3).sum(-1).view(*sums.shape[:3], 1)
        flat = tokens.flatten(3)
        out = flat.new_empty((*sums.shape[:3], flat.shape[-1]))
        for part in _blocks(weights, tokens):
            for j in range(len(weights)):
                offset = totals[:, j] * bias[j, part]
                out[:, j, :, part] = torch.baddbmm(
                    offset, sums[:, j], _weighted(flat[..., part], weights[j, ..., part])
                )
        ctx.save_for_backward(tokens, values, weights, bias, sums, totals)
        return out.view(values.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # type: ignore[override]
        tokens, values, weights, bias, sums, totals = ctx.saved_tensors
        window = round(weights.shape[2] ** 0.5)
        with full_precision(grad):
            flat = tokens.flatten(3)
            grad = grad.reshape(*sums.shape[:3], flat.shape[-1])
            of_sums, of_weights = torch.zeros_like(sums), torch.empty_like(weights)
            of_flat = torch.empty_like(flat)
            for part in _blocks(weights, tokens):
                of_flat[..., part] = _block_backward(
                    grad[..., part],
                    flat[..., part],
                    weights[..., part],
                    sums,
                    of_sums,
                    of_weights[..., part],
                )
            of_bias = (totals.mT @ grad).sum((0, 2))
            of_totals = grad @ bias[..., None]
            of_tokens, of_values = of_flat.view_as(tokens), torch.empty_like(values)
            maps = tokens.flatten(1, 2), values.flatten(1, 2)
            taps = of_sums.view(len(tokens), maps[1].shape[1], -1, window, window)
            for b, tap in enumerate(taps):
                one = slice(b, b + 1)
                shape = tokens.shape[1:]
                of_tokens[b] += F.conv_transpose2d(maps[1][one], tap, padding=window // 2).view(
                    shape
                )
                of_values[b] = F.conv2d(maps[0][one], tap, padding=window // 2).view(shape)
            of_values += of_totals.view(*values.shape[:3], 1, 1)
        of_kernel = of_weights.unflatten(2, (window, window)).permute(0, 4, 1, 2, 3)
        return of_tokens, of_values, of_kernel, of_bias


def _block_backward(
    grad: Tensor,
    flat: Tensor,
    weights: Tensor,
    sums: Tensor,
    of_sums: Tensor,
    of_weights: Tensor,
) -> Tensor:
    """Gradient of a block of tokens; those of S and of the weights go to where they belong."""
    of_flat = torch.zeros_like(flat)
    for j, weight in enumerate(weights):
        of_sums[:, j].baddbmm_(grad[:, j], _weighted(flat, weight).mT)
        of_weighted = (sums[:, j].mT @ grad[:, j]).view(*flat.shape[:3], -1, flat.shape[-1])
        of_weights[j] = (of_weighted * flat[..., None, :]).sum((0, 2))
        of_flat += of_weighted.mul_(weight[:, None]).sum(3)
    return of_flat


def _taps_first(kernel: Tensor) -> Tensor:
    """``(J, N, T, f, f)`` to ``(J, T, f * f, N)``, so that tokens lie side by side."""
    return kernel.flatten(3).permute(0, 2, 3, 1).contiguous()


def _weighted(flat: Tensor, weight: Tensor) -> Tensor:
    """Tokens ``(B, T, C, n)`` times ``(T, f * f, n)``: ``(B, T * C * f * f, n)``."""
    return (flat[..., None, :] * weight[:, None]).flatten(1, 3)


def _blocks(weights: Tensor, tokens: Tensor) -> Sequence[slice]:
    """Blocks of tokens whose weighted form is small."""
    count = weights.shape[-1]
    row = weights.shape[1] * weights.shape[2] * tokens.shape[2] * tokens.element_size()
    step = max(_BLOCK_BYTES // row, 1)
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def _correlations(tokens: Tensor, values: Tensor, window: int, groups: int) -> Tensor:
    """S of all pairs of tasks and all taps: ``(B, J, T * C / J, T * C * f * f)``."""
    x, v = tokens.flatten(1, 2), values.flatten(1, 2)
    if exporting():
        return _correlations_by_tap(x, v, window).unflatten(1, (groups, -1)).flatten(3)
    size = (v.shape[1], x.shape[1], window, window)
    sums = [
        conv2d_weight(x[b : b + 1], size, v[b : b + 1], padding=window // 2) for b in range(len(x))
    ]
    return torch.stack(sums).view(len(x), groups, v.shape[1] // groups, -1)


def _correlations_by_tap(x: Tensor, v: Tensor, window: int) -> Tensor:
    """``(B, T * C, T * C, f * f)``: a product per tap, so that the batch stays free in a graph."""
    height, width = x.shape[-2:]
    padded = F.pad(x, (window // 2,) * 4)
    flat = v.flatten(2)
    taps = [
        flat @ padded[..., dy : dy + height, dx : dx + width].flatten(2).mT
        for dy in range(window)
        for dx in range(window)
    ]
    return torch.stack(taps, 3)


def _widened(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All in one dtype of float32 or wider."""
    kind = torch.float32
    for tensor in tensors:
        kind = torch.promote_types(kind, tensor.dtype)
    return tuple(tensor.to(kind) for tensor in tensors)


def _check(tokens: Tensor, values: Tensor, kernel: Tensor, bias: Tensor) -> None:
    if tokens.dim() != 5 or values.shape != tokens.shape:
        raise ShapeError(
            f'cross_task_affinity: tokens are {tuple(tokens.shape)} and values '
            f'{tuple(values.shape)}; expected the same (B, T, C, H, W) for both.'
        )
    _, tasks, _, height, width = tokens.shape
    count, window = height * width, kernel.shape[-1]
    fits = kernel.dim() == 5 and kernel.shape[0] in (1, tasks) and kernel.shape[1] in (1, count)
    if not fits or tuple(kernel.shape[2:]) != (tasks, window, window) or window % 2 == 0:
        raise ShapeError(
            f'cross_task_affinity: kernel is {tuple(kernel.shape)}; expected (J, N, {tasks}, f, f) '
            f'with J 1 or {tasks}, N 1 or {count} ({height} x {width} tokens), and f odd.'
        )
    if tuple(bias.shape) != tuple(kernel.shape[:2]):
        raise ShapeError(
            f'cross_task_affinity: bias is {tuple(bias.shape)}; expected '
            f'{tuple(kernel.shape[:2])} as the first two of kernel.'
        )
