"""Attention of every position to a square window around it, without unfolding the map."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdense.utils import ShapeError

from .onnx import exporting


def local_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    window: int = 9,
    scale: float | None = None,
    valid: Tensor | None = None,
    border: str = 'zero',
) -> Tensor:
    """Softmax attention over the ``window x window`` neighbours of each position.

    The local context of ATRC (Bruggemann et al., "Exploring Relational Context for Multi-Task
    Dense Prediction", ICCV 2021). A loop over the offsets of the window: what is kept for the
    backward pass are the ``window ** 2`` weights of every position, not the windows of keys and
    values, which are as many times the channels larger. Computed in float32 or wider.

    Args:
        query (Tensor): ``(B, D, H, W)``.
        key (Tensor): ``(B, D, H, W)``.
        value (Tensor): ``(B, E, H, W)``.
        window (int): Side of the window, odd.
        scale (float | None): Factor on the scores. None: ``D ** -0.5``.
        valid (Tensor | None): ``(B, 1, H, W)`` bool: positions of the picture. Others count as
            outside the map. None: all.
        border (str): What lies outside the map. ``'zero'``: keys and values of 0, which stay in
            the denominator of the softmax with a score of 0 (ATRC). ``'exclude'``: nothing; a
            position without any neighbour gets 0.

    Returns:
        Tensor: ``(B, E, H, W)`` in the dtype of ``value``.

    Raises:
        ValueError: If ``window`` is even or not positive, or ``border`` is unknown.
        ShapeError: If the maps do not fit together.
    """
    _check(query, key, value, window, border)
    if scale is None:
        scale = query.shape[1] ** -0.5
    wide = torch.promote_types(query.dtype, torch.float32)
    q, k, v = (x.to(wide) for x in (query, key, value))
    allowed: Tensor | None = None
    if border == 'exclude':
        allowed = torch.ones_like(q[:, :1], dtype=torch.bool) if valid is None else valid
    elif valid is not None:
        k, v = k * valid, v * valid
    # A graph is spared a node per neighbour. A compiler sees the loop and fuses it; otherwise it
    # is one operator with a backward pass of its own.
    if exporting():
        out = _forward_by_rows(q, k, v, allowed, window, scale)
    elif torch.compiler.is_compiling():
        out, _ = _forward(q, k, v, allowed, window, scale)
    else:
        out, _ = torch.ops.mmdense.local_attention(q, k, v, allowed, window, scale)
    return out.to(value.dtype)


def _check(query: Tensor, key: Tensor, value: Tensor, window: int, border: str) -> None:
    if window < 1 or window % 2 == 0:
        raise ValueError(f'local_attention: window is {window}; it must be odd and positive.')
    if border not in ('zero', 'exclude'):
        raise ValueError(f"local_attention: border is {border!r}; choose 'zero' or 'exclude'.")
    sizes = [(x.shape[0], *x.shape[2:]) for x in (query, key, value)]
    if query.shape != key.shape or sizes[0] != sizes[2] or query.ndim != 4:
        raise ShapeError(
            f'local_attention: query {tuple(query.shape)}, key {tuple(key.shape)}, value '
            f'{tuple(value.shape)}; expected (B, D, H, W) twice and (B, E, H, W).'
        )


def _windows(x: Tensor, window: int) -> Iterator[Tensor]:
    """Views of a padded map, one per offset of the window, row by row."""
    height, width = (n - window + 1 for n in x.shape[-2:])
    for dy in range(window):
        for dx in range(window):
            yield x[..., dy : dy + height, dx : dx + width]


def _pad(x: Tensor, window: int) -> Tensor:
    return F.pad(x, (window // 2,) * 4)


def _forward(
    q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, window: int, scale: float
) -> tuple[Tensor, Tensor]:
    """Output, and the weights ``(B, window ** 2, H, W)``."""
    q = q * scale
    scores = torch.stack([(q * near).sum(1) for near in _windows(_pad(k, window), window)], 1)
    if allowed is None:
        weights = scores.softmax(1)
    else:
        inside = torch.cat(list(_windows(_pad(allowed, window), window)), 1)
        # Not -inf: a row without any neighbour would be NaN.
        lowest = torch.finfo(scores.dtype).min
        weights = scores.masked_fill(~inside, lowest).softmax(1) * inside
    out = torch.zeros_like(v)
    for index, near in enumerate(_windows(_pad(v, window), window)):
        out = torch.addcmul(out, weights[:, index : index + 1], near)
    return out, weights


def _forward_by_rows(
    q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, window: int, scale: float
) -> Tensor:
    """The output, with a loop over the rows of the window only; ``window`` maps at a time."""
    height, width = q.shape[-2:]
    across = torch.arange(window, device=q.device)
    columns = torch.arange(width, device=q.device)[:, None] + across

    def rows(x: Tensor) -> Iterator[Tensor]:
        """``(B, C, H, W, window)``: the neighbours of every position in one row of the window."""
        padded = _pad(x, window)
        for dy in range(window):
            yield padded[..., dy : dy + height, :][..., columns]

    q = q[..., None] * scale
    scores = torch.cat([(q * near).sum(1) for near in rows(k)], -1)
    if allowed is None:
        weights = scores.softmax(-1)
    else:
        inside = torch.cat([near[:, 0] for near in rows(allowed.to(q.dtype))], -1)
        lowest = torch.finfo(scores.dtype).min
        weights = scores.masked_fill(inside == 0, lowest).softmax(-1) * inside
    shares = weights[:, None].split(window, -1)
    parts = [(share * near).sum(-1) for share, near in zip(shares, rows(v), strict=True)]
    return torch.stack(parts).sum(0)


@torch.library.custom_op('mmdense::local_attention', mutates_args=())
def _operator(
    q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, window: int, scale: float
) -> tuple[Tensor, Tensor]:
    return _forward(q, k, v, allowed, window, scale)


@_operator.register_fake
def _shapes(
    q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, window: int, scale: float
) -> tuple[Tensor, Tensor]:
    weights = q.new_empty(q.shape[0], window**2, *q.shape[2:])
    return torch.empty_like(v, memory_format=torch.contiguous_format), weights


def _keep(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: tuple) -> None:
    q, k, v, _, window, scale = inputs
    ctx.save_for_backward(q, k, v, output[1])
    ctx.window, ctx.scale = window, scale  # type: ignore[attr-defined]


def _backward(
    ctx: torch.autograd.function.FunctionCtx, grad: Tensor, _: Tensor
) -> tuple[Tensor | None, ...]:
    """Gradients by the same loop; excluded neighbours have a weight, and so a gradient, of 0."""
    q, k, v, weights = ctx.saved_tensors  # type: ignore[attr-defined]
    window: int = ctx.window  # type: ignore[attr-defined]
    scale: float = ctx.scale  # type: ignore[attr-defined]
    padded_k, padded_v = _pad(k, window), _pad(v, window)
    slopes = torch.stack([(grad * near).sum(1) for near in _windows(padded_v, window)], 1)
    # Of the softmax, in place: d score = weight * (slope - mean slope).
    slopes = slopes.sub_((weights * slopes).sum(1, keepdim=True)).mul_(weights).mul_(scale)
    grad_q = torch.zeros_like(q)
    grad_k, grad_v = torch.zeros_like(padded_k), torch.zeros_like(padded_v)
    views = zip(
        _windows(padded_k, window), _windows(grad_k, window), _windows(grad_v, window), strict=True
    )
    for index, (near, into_k, into_v) in enumerate(views):
        slope = slopes[:, index : index + 1]
        grad_q.addcmul_(slope, near)
        into_k.addcmul_(slope, q)
        into_v.addcmul_(weights[:, index : index + 1], grad)
    side = window // 2
    inner = (..., slice(side, side + q.shape[2]), slice(side, side + q.shape[3]))
    return grad_q, grad_k[inner], grad_v[inner], None, None, None


_operator.register_autograd(_backward, setup_context=_keep)


def local_attention_flops(
    query: tuple[int, ...],
    key: tuple[int, ...],
    value: tuple[int, ...],
    allowed: object,
    window: int,
    *_: object,
    **__: object,
) -> int:
    """Operations of the window: scores, and the weighted sum of the values."""
    batch, depth, height, width = query
    return 2 * batch * height * width * window**2 * (depth + value[1])
