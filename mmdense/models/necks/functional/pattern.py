"""Pattern-affinitive diffusion of PAP-Net: explicit, by row blocks, and of linear memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmdense.models.losses.functional import at_least_float32, full_precision

AFFINITIES = ('row_stochastic', 'released')
SIMILARITIES = ('inner_product', 'exp')
IMPLEMENTATIONS = ('auto', 'explicit', 'linear')
# Sums below it would make the released affinity explode.
_LEAST_SUM = 1e-6
# A token resembles itself by 1, so that row sums are at least 1 but for tokens without any
# positive channel, whose row is empty.
_EMPTY = 0.5
# Entries of the affinities of a block of rows where they are not built as a whole.
_BLOCK_ENTRIES = 2**24


def pattern_diffusion(
    features: Tensor,
    mixing: Tensor,
    num_iters: int = 1,
    beta: float = 0.05,
    affinity: str = 'row_stochastic',
    similarity: str = 'inner_product',
    impl: str = 'auto',
    block_rows: int | None = None,
) -> Tensor:
    """Diffuse the features of each task along the affinities of all tasks.

    Zhang et al., "Pattern-Affinitive Propagation across Depth, Surface Normal and Semantic
    Segmentation" (CVPR 2019). With P_u the affinity of task u, ``P^t = sum_u mixing[t, u] P_u``
    and ``Y_t <- beta P^t Y_t + (1 - beta) X_t``, ``num_iters`` times from ``Y_t = X_t``. Computed
    in float32 or wider under autocast as well.

    The linear form re-associates ``P_u Y = D_u^-1 E_u^T (E_u Y)`` and never builds an N x N
    matrix; exact. An exponential has no such form, and is computed by blocks of rows, once more
    in the backward pass.

    Args:
        features (Tensor): X, ``(B, T, C, N)``.
        mixing (Tensor): ``(T, T)``, rows that sum to 1.
        num_iters (int): Steps.
        beta (float): Share of what is diffused, in [0, 1].
        affinity (str): As for :func:`pattern_affinity`.
        similarity (str): As for :func:`pattern_embedding`.
        impl (str): ``'explicit'``, ``'linear'``, or ``'auto'``: linear where there is such a form.
        block_rows (int | None): Rows per block of the explicit form. None: all, or for
            ``'auto'`` what keeps a block below 64 MiB per picture.

    Returns:
        Tensor: ``(B, T, C, N)`` in the dtype of ``features``.

    Raises:
        ValueError: If an option is unknown, or the linear form of ``'exp'`` is asked for.
    """
    check_options(affinity, similarity, impl)
    kind = features.dtype
    if impl == 'auto':
        impl = 'linear' if similarity == 'inner_product' else 'explicit'
        if impl == 'explicit' and block_rows is None:
            block_rows = max(_BLOCK_ENTRIES // (features.shape[1] * features.shape[3]), 1)
    with full_precision(features):
        features = at_least_float32(features)
        mixing = mixing.to(features.dtype)
        embedding = pattern_embedding(features, affinity, similarity)
        if impl == 'linear':
            out = _linear(features, embedding, mixing, num_iters, beta, affinity)
        else:
            step = features.shape[3] if block_rows is None else block_rows
            out = features
            for _ in range(num_iters):
                diffused = _by_rows(out, embedding, mixing, affinity, similarity, step)
                out = torch.lerp(features, diffused, beta)
        return out.to(kind)


def _linear(
    features: Tensor,
    embedding: Tensor,
    mixing: Tensor,
    num_iters: int,
    beta: float,
    affinity: str,
) -> Tensor:
    left = right = embedding
    itself: Tensor | None = None
    if affinity == 'released':
        right = embedding / released_sums(embedding)[:, :, None]
    else:
        sums = row_sums(embedding)
        empty = (sums < _EMPTY).to(sums.dtype)
        left = embedding / (sums + empty)[:, :, None]
        itself = (mixing @ empty)[:, :, None]
    left, right = left.flatten(1, 2), right.flatten(1, 2)
    weights = mixing.repeat_interleave(features.shape[2], 0)[..., None]
    out = features
    for _ in range(num_iters):
        # (B, T * C, T * C): targets by sources, so that one product serves all pairs of tasks.
        products = out.flatten(1, 2) @ right.mT
        products = (products.unflatten(2, (len(mixing), -1)) * weights).flatten(2)
        diffused = (products @ left).view(features.shape)
        if itself is not None:
            diffused = diffused + itself * out
        out = torch.lerp(features, diffused, beta)
    return out


def _by_rows(
    tokens: Tensor,
    embedding: Tensor,
    mixing: Tensor,
    affinity: str,
    similarity: str,
    step: int,
) -> Tensor:
    """``P^t Y_t`` of each task, so many rows of P at a time."""
    count = tokens.shape[3]
    parts = []
    for start in range(0, count, step):
        rows = slice(start, min(start + step, count))
        inputs = (tokens, embedding, mixing, affinity, similarity, rows)
        # Recomputed where it comes in blocks: that is what the blocks are for.
        if step < count and torch.is_grad_enabled():
            parts.append(checkpoint(_rows, *inputs, use_reentrant=False))
        else:
            parts.append(_rows(*inputs))
    return torch.cat(parts, 3)


def _rows(
    tokens: Tensor,
    embedding: Tensor,
    mixing: Tensor,
    affinity: str,
    similarity: str,
    rows: slice,
) -> Tensor:
    each = pattern_affinity(embedding, affinity, similarity, rows)
    mixed = torch.einsum('tu,buij->btij', mixing, each)
    return tokens @ mixed.mT


def check_options(affinity: str, similarity: str, impl: str) -> None:
    """Raise ``ValueError`` for an unknown option, or for a linear form that does not exist."""
    for name, value, known in (
        ('affinity', affinity, AFFINITIES),
        ('similarity', similarity, SIMILARITIES),
        ('impl', impl, IMPLEMENTATIONS),
    ):
        if value not in known:
            raise ValueError(
                f'pattern_diffusion: {name} is {value!r}; choose one of '
                f'{", ".join(map(repr, known))}.'
            )
    if similarity == 'exp' and (impl == 'linear' or affinity == 'released'):
        raise ValueError(
            f"pattern_diffusion: similarity 'exp' with impl {impl!r} and affinity {affinity!r}; it "
            "has no linear form and was never released. Take impl='auto' and "
            "affinity='row_stochastic'."
        )


def pattern_embedding(
    features: Tensor, affinity: str = 'row_stochastic', similarity: str = 'inner_product'
) -> Tensor:
    """Tokens whose inner products are the similarities.

    Args:
        features (Tensor): ``(B, T, C, N)``.
        affinity (str): ``'row_stochastic'``: unit length over the channels; of the positive
            part where the similarity is the inner product, which so is never negative.
            ``'released'``: unit length over the positions, of the features as they are.
        similarity (str): ``'inner_product'`` or ``'exp'``, ``exp(-|e_i - e_j|^2)``.

    Returns:
        Tensor: ``(B, T, C, N)``.
    """
    if affinity == 'released':
        return F.normalize(features, dim=3)
    return F.normalize(features.relu() if similarity == 'inner_product' else features, dim=2)


def pattern_affinity(
    embedding: Tensor,
    affinity: str = 'row_stochastic',
    similarity: str = 'inner_product',
    rows: slice = slice(None),
) -> Tensor:
    """Affinities P of each task, ``(B, T, rows, N)``.

    Args:
        embedding (Tensor): Of :func:`pattern_embedding`, ``(B, T, C, N)``.
        affinity (str): ``'row_stochastic'``: each row is divided by its sum; the row of a token
            that resembles none, not even itself, is the token's own. ``'released'``: each
            column is divided by its sum, clamped to at least 1e-6 in size.
        similarity (str): As for :func:`pattern_embedding`.
        rows (slice): Tokens whose rows are wanted. Defaults to all.
    """
    gram = embedding[..., rows].mT @ embedding
    if affinity == 'released':
        return gram / released_sums(embedding)[..., None, :]
    if similarity == 'exp':
        # For unit tokens |e_i - e_j|^2 = 2 - 2 e_i.e_j, and the constant leaves the quotient.
        return (2 * gram).softmax(-1)
    sums = gram.sum(-1, keepdim=True)
    count = embedding.shape[-1]
    itself = torch.eye(count, dtype=gram.dtype, device=gram.device)[rows]
    empty = (sums < _EMPTY).to(gram.dtype)
    return torch.where(sums < _EMPTY, itself, gram / (sums + empty))


def released_sums(embedding: Tensor) -> Tensor:
    """Sums of the rows (= columns) of the Gram matrix ``(B, T, N)``, kept off 0."""
    sums = row_sums(embedding)
    floor = torch.where(sums < 0, -_LEAST_SUM, _LEAST_SUM)
    return torch.where(sums.abs() < _LEAST_SUM, floor, sums)


def row_sums(embedding: Tensor) -> Tensor:
    """Sums of the rows of the Gram matrices of ``(B, T, C, N)``, unbuilt: ``(B, T, N)``."""
    return (embedding.sum(-1, keepdim=True).mT @ embedding).squeeze(-2)
