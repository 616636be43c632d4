"""Relational context of ATRC: four ways to look from one task's map at another's.

Bruggemann et al., "Exploring Relational Context for Multi-Task Dense Prediction" (ICCV 2021).
A context type has no parameters; :class:`~mmdense.models.necks.RelationalContext` makes queries,
keys and values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdense.models.losses.functional import at_least_float32, full_precision
from mmdense.ops import local_attention
from mmdense.registry import MODELS


def global_context(
    query: Tensor, key: Tensor, value: Tensor, valid: Tensor | None = None, eps: float = 1e-12
) -> Tensor:
    """Linear attention ``sum_m v_m (k_m . q_n) / max(sum_m k_m . q_n, eps)`` over all positions.

    Summed over m first, in float32 or wider, so that cost and memory grow with the number of
    positions and not with its square.

    Args:
        query (Tensor): ``(B, D, H, W)``, not negative.
        key (Tensor): ``(B, D, h, w)``, not negative.
        value (Tensor): ``(B, E, h, w)``.
        valid (Tensor | None): ``(B, 1, h, w)`` bool, positions that count. None: all.
        eps (float): Lower bound of the denominator.

    Returns:
        Tensor: ``(B, E, H, W)`` in the dtype of ``value``; 0 where no position is valid.
    """
    with full_precision(query):
        q, k, v = (at_least_float32(x).flatten(2) for x in (query, key, value))
        if valid is not None:
            k = k * valid.flatten(2)
        total = (k.sum(2, keepdim=True) * q).sum(1, keepdim=True)
        out = (v @ k.mT) @ q / total.clamp(min=eps)
    return out.to(value.dtype).unflatten(2, query.shape[2:])


def spatial_softmax(logits: Tensor, valid: Tensor | None = None) -> Tensor:
    """Softmax over positions: every channel becomes weights that sum to 1 over the picture.

    Args:
        logits (Tensor): ``(B, K, H, W)``.
        valid (Tensor | None): ``(B, 1, H, W)`` bool; other positions get 0, without a change of
            ``logits``. None: all are.

    Returns:
        Tensor: ``(B, K, H * W)``, float32 or wider; 0 for a picture without a valid position.
    """
    flat = at_least_float32(logits).flatten(2)
    if valid is None:
        return flat.softmax(2)
    inside = valid.flatten(2)
    # Not -inf: a picture of padding only would be NaN.
    return flat.masked_fill(~inside, torch.finfo(flat.dtype).min).softmax(2) * inside


def pool_by_labels(maps: Tensor, features: Tensor) -> Tensor:
    """One vector per label: the mean of the features weighted by its map.

    Args:
        maps (Tensor): ``(B, K, H * W)``, of :func:`spatial_softmax`.
        features (Tensor): ``(B, C, H, W)``.

    Returns:
        Tensor: ``(B, C, K, 1)`` in the dtype of ``features``.
    """
    with full_precision(features):
        pooled = at_least_float32(features).flatten(2) @ maps.mT
    return pooled[..., None].to(features.dtype)


def label_context(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention of every position to one vector per label, scaled by ``D ** -0.5``.

    Args:
        query (Tensor): ``(B, D, H, W)``.
        key (Tensor): ``(B, D, K, 1)``.
        value (Tensor): ``(B, E, K, 1)``.

    Returns:
        Tensor: ``(B, E, H, W)``.
    """
    q, k, v = (x.flatten(2).mT[:, None] for x in (query, key, value))
    out = F.scaled_dot_product_attention(q, k, v)
    return out[:, 0].mT.unflatten(2, query.shape[2:])


class ContextType(nn.Module, ABC):
    """Base of the context types.

    Shape:
        - query: ``(B, D, H, W)``.
        - key, value: ``(B, D, H, W)`` of the source's positions, or ``(B, D, K, 1)`` of its
          label vectors (see :meth:`labels_of`).
        - valid: ``(B, 1, H, W)`` bool or None: positions that show the picture.
        - output: ``(B, D, H, W)``.
    """

    #: Whether queries and keys end in a softplus (they must not be negative) or a ReLU.
    softplus: ClassVar[bool] = False

    def labels_of(self, target: str, source: str) -> str | None:
        """The task whose label maps pool the source; None: it is read position by position."""
        return None

    @abstractmethod
    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, valid: Tensor | None = None
    ) -> Tensor:
        """The context of every position."""


@MODELS.register_module()
class GlobalContext(ContextType):
    """Linear attention over all positions (see :func:`global_context`)."""

    softplus = True

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, valid: Tensor | None = None
    ) -> Tensor:
        return global_context(query, key, value, valid)


@MODELS.register_module()
class LocalContext(ContextType):
    """Attention over a window (see :func:`~mmdense.ops.local_attention`).

    Args:
        window (int): Its side, odd. Defaults to 9.
        border (str): ``'zero'`` (ATRC) or ``'exclude'``.
    """

    def __init__(self, window: int = 9, border: str = 'zero') -> None:
        super().__init__()
        self.window, self.border = window, border

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, valid: Tensor | None = None
    ) -> Tensor:
        with full_precision(query):
            return local_attention(query, key, value, self.window, valid=valid, border=self.border)


@MODELS.register_module()
class SourceLabelContext(ContextType):
    """Attention to the source pooled by its own label maps (S-label)."""

    def labels_of(self, target: str, source: str) -> str | None:
        return source

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, valid: Tensor | None = None
    ) -> Tensor:
        if valid is not None:
            # Norms shift even vectors pooled from nothing away from 0.
            value = value * valid.flatten(1).any(1)[:, None, None, None]
        return label_context(query, key, value)


@MODELS.register_module()
class TargetLabelContext(SourceLabelContext):
    """Attention to the source pooled by the label maps of the target (T-label)."""

    def labels_of(self, target: str, source: str) -> str | None:
        return target
