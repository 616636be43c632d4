"""Attention of MT-CP: every pixel averages main features by the similarity of auxiliary ones."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmdense.models.losses.functional import at_least_float32, full_precision
from mmdense.utils import ShapeError, suggest

ATTENTION_IMPLS = ('auto', 'fused', 'chunked', 'direct')
#: Rows of scores held at a time by the chunked form: 1024 x 19200 float32 are 75 MiB.
CHUNK_ROWS = 1024


def check_attention_impl(name: str, impl: str) -> str:
    """``impl`` if it names a form of the attention.

    Raises:
        ValueError: If it does not.
    """
    if impl not in ATTENTION_IMPLS:
        raise ValueError(f'{name}.attention is {impl!r}. {suggest(impl, ATTENTION_IMPLS)}')
    return impl


def coherence_attention(
    theta: Tensor,
    phi: Tensor,
    main: Tensor,
    scale: float = 1.0,
    impl: str = 'auto',
    chunk_rows: int = CHUNK_ROWS,
) -> Tensor:
    """``o_i = sum_j softmax_j(scale * theta_i . phi_j) main_j``, in float32 or wider.

    Scores reach 1e3, where the spacing of bfloat16 is 4 to 8, so that autocast is off here.
    All forms give the same numbers:

    - ``'fused'``: ``scaled_dot_product_attention``; memory linear in the number of pixels where
      a fused kernel takes the operands.
    - ``'chunked'``: blocks of rows, recomputed in the backward pass; one block in memory.
    - ``'direct'``: all scores in memory, 1.4 GiB per picture and task at 120x160.
    - ``'auto'``: ``'fused'`` if there is such a kernel, else ``'chunked'``.

    Args:
        theta (Tensor): Queries ``(B, A, L)``.
        phi (Tensor): Keys ``(B, A, S)``.
        main (Tensor): Values ``(B, C, S)``.
        scale (float): Factor on the scores.
        impl (str): Form.
        chunk_rows (int): Rows per block of the chunked form.

    Returns:
        Tensor: ``(B, C, L)``, float32 or wider.

    Raises:
        ValueError: If ``impl`` is unknown or ``chunk_rows`` is not positive.
        ShapeError: If the operands do not fit together.
    """
    check_attention_impl('coherence_attention', impl)
    if chunk_rows < 1:
        raise ValueError(f'coherence_attention: chunk_rows is {chunk_rows}; need at least 1.')
    if theta.shape[:2] != phi.shape[:2] or phi.shape[2] != main.shape[2]:
        raise ShapeError(
            f'coherence_attention: theta {tuple(theta.shape)}, phi {tuple(phi.shape)}, main '
            f'{tuple(main.shape)}; expected (B, A, L), (B, A, S) and (B, C, S).'
        )
    with full_precision(theta):
        queries, keys, values = (at_least_float32(x).transpose(1, 2) for x in (theta, phi, main))
        if impl == 'auto':
            impl = 'fused' if _has_fused_kernel(queries, keys, values) else 'chunked'
        if impl == 'fused':
            mixed = _fused(queries, keys, values, scale)
        elif impl == 'chunked':
            mixed = _chunked(queries, keys, values, scale, chunk_rows)
        else:
            mixed = _direct(queries, keys, values, scale)
    # In one piece: on a transposed map of one picture the batch norm of PyTorch's CPU kernels gives
    # wrong gradients of its weights (seen with 2.13).
    return mixed.transpose(1, 2).contiguous()


def _direct(queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    scores = scale * (queries @ keys.transpose(1, 2))
    return scores.softmax(dim=-1) @ values


def _chunked(queries: Tensor, keys: Tensor, values: Tensor, scale: float, rows: int) -> Tensor:
    blocks = queries.split(rows, dim=1)
    if not torch.is_grad_enabled():
        return torch.cat([_direct(block, keys, values, scale) for block in blocks], dim=1)
    mixed = [
        checkpoint(
            _direct, block, keys, values, scale, use_reentrant=False, preserve_rng_state=False
        )
        for block in blocks
    ]
    return torch.cat(mixed, dim=1)


def _fused(queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    # The kernel of the CPU wants values as wide as keys; columns of zeros are cut off again.
    width = values.shape[-1]
    padded = _padded_like_keys(keys, values)
    # Channels must lie next to each other, or the operands go to the form that stores all scores.
    q, k, v = (x.contiguous()[:, None] for x in (queries, keys, padded))
    mixed: Tensor = F.scaled_dot_product_attention(q, k, v, scale=scale)
    return mixed[:, 0, :, :width]


def _padded_like_keys(keys: Tensor, values: Tensor) -> Tensor:
    missing = keys.shape[-1] - values.shape[-1]
    return F.pad(values, (0, missing)) if missing > 0 and keys.device.type != 'cuda' else values


def _has_fused_kernel(queries: Tensor, keys: Tensor, values: Tensor) -> bool:
    """Whether attention runs without its matrix of scores."""
    if queries.device.type != 'cuda':
        # Wider values cannot be padded away; they need fewer than two tasks, or a wider neck.
        return queries.device.type in ('cpu', 'meta') and values.shape[-1] <= keys.shape[-1]
    q, k, v = (x.contiguous()[:, None] for x in (queries, keys, values))
    # No mask, no dropout, not causal, as many heads of keys as of queries; typed for less.
    given: Any = (q, k, v, None, 0.0, False, False)
    params = torch.backends.cuda.SDPAParams(*given)
    return torch.backends.cuda.can_use_efficient_attention(params, debug=False)
