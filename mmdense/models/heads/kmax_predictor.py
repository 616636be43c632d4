"""Predictor of the kMaX transformer decoder: mask logits and one vector per cluster."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdense.models.heads.cluster_prediction import ClusterPrediction
from mmdense.models.layers import (
    BNSettings,
    ConvNorm,
    LinearNorm,
    as_parameters_of,
    at_least_float32,
    full_precision,
    trunc_normal_,
)


def void_log_odds(out_channels: int) -> float:
    """The constant on the last logit: void starts at probability 0.9 against C classes."""
    return math.log((out_channels - 1) * 0.9 / 0.1)


class KMaXPredictor(nn.Module):
    """Scores clusters against pixels, and maps each cluster to its vector.

    Submodules in this order: ``pixel_head.0`` (5x5 depthwise), ``pixel_head.1`` (1x1),
    ``pixel_head.2`` (1x1 with bias, no activation), ``mask_head`` (linear, no activation),
    ``mask_bn`` (one channel, scale starts at 0.1), ``center_mlp.N`` (if any), ``value_head``
    (linear with bias).

    Args:
        pixel_channels (int): Channels of the pixel features.
        query_channels (int): Width of the cluster features.
        out_channels (int): D, width of the vector per cluster: classes plus void, or the
            dimensions of the task. 0: no vectors, the value head is left out.
        hidden_channels (int): Width inside the pixel head. Defaults to 256.
        embed_dim (int): E, width in which pixels and clusters meet. Defaults to 128.
        void_bias (bool): Add :func:`void_log_odds` to the last entry of each vector, if there
            are vectors. Defaults to False.
        center_mlp_layers (int): Extra linear layers with batch norm and GELU ahead of the
            value head. Defaults to 0.
        bn (BNSettings): Batch norm constants.

    Shape:
        - mask_features, value_features: ``(B, K, query_channels)``; no values are computed
          if ``value_features`` is None.
        - pixels: ``(B, pixel_channels, H, W)``.

    Raises:
        ValueError: If ``void_bias`` is set and there is no class next to void.
    """

    def __init__(
        self,
        pixel_channels: int,
        query_channels: int,
        out_channels: int,
        *,
        hidden_channels: int = 256,
        embed_dim: int = 128,
        void_bias: bool = False,
        center_mlp_layers: int = 0,
        bn: BNSettings = BNSettings(),  # noqa: B008  (frozen)
    ) -> None:
        super().__init__()
        if void_bias and out_channels == 1:
            raise ValueError(
                f'KMaXPredictor: void_bias=True with out_channels={out_channels}, expected at '
                'least one class and void. Set `void_bias=False` for tasks without classes.'
            )
        has_void = void_bias and out_channels > 0
        self.void_log_odds = void_log_odds(out_channels) if has_void else None
        self.pixel_head = nn.Sequential(
            ConvNorm(
                pixel_channels, pixel_channels, 5, groups=pixel_channels, bn=bn, init='xavier'
            ),
            ConvNorm(pixel_channels, hidden_channels, bn=bn),
            ConvNorm(hidden_channels, embed_dim, bias=True, act=False, bn=bn, init=0.01),
        )
        self.mask_head = LinearNorm(query_channels, embed_dim, act=False, bn=bn)
        self.mask_bn = bn.norm2d(1)
        depth = center_mlp_layers if out_channels else 0
        self.center_mlp = nn.Sequential(
            *(LinearNorm(query_channels, query_channels, bn=bn) for _ in range(depth))
        )
        self.value_head = nn.Linear(query_channels, out_channels) if out_channels else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise mask batch norm and value head."""
        nn.init.constant_(self.mask_bn.weight, 0.1)
        if self.value_head is not None:
            trunc_normal_(self.value_head.weight, 0.01)
            nn.init.zeros_(self.value_head.bias)

    def forward(
        self,
        mask_features: Tensor,
        value_features: Tensor | None,
        pixels: Tensor,
        *,
        with_embeddings: bool = True,
    ) -> ClusterPrediction:
        """Predict.

        Returns:
            ClusterPrediction: ``mask_logits`` ``(B, K, H, W)``; ``values`` ``(B, K, D)`` and
            ``embeddings`` ``(B, E, H, W)``, unit vectors over E, where asked for. All in
            float32 at least.
        """
        embeddings = self.pixel_head(pixels)
        kernels = self.mask_head(mask_features)
        with full_precision(pixels):
            # The kernels are not normalised, the pixel embeddings are.
            embeddings = F.normalize(at_least_float32(embeddings), dim=1)
            logits = at_least_float32(kernels) @ embeddings.flatten(2)
            # One channel: scale and shift are shared by all clusters and pixels.
            logits = self.mask_bn(as_parameters_of(self.mask_bn, logits.unsqueeze(1))).squeeze(1)
        logits = at_least_float32(logits).unflatten(-1, embeddings.shape[-2:])
        values = None if value_features is None else self.values(value_features)
        return ClusterPrediction(logits, values, embeddings if with_embeddings else None)

    def values(self, features: Tensor) -> Tensor | None:
        """``(B, K, query_channels)`` to the vector of each cluster, ``(B, K, D)``."""
        head = self.value_head
        if head is None:
            return None
        features = self.center_mlp(features)
        with full_precision(features):
            values = F.linear(
                at_least_float32(features),
                at_least_float32(head.weight),
                at_least_float32(head.bias),
            )
        if self.void_log_odds is not None:
            classes, void = values.split([values.shape[-1] - 1, 1], dim=-1)
            values = torch.cat([classes, void + self.void_log_odds], dim=-1)
        return values
