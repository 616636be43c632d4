"""Transformer decoder of kMaX-DeepLab, with PolyMaX's vector per cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdense.models.heads.cluster_prediction import ClusterPrediction
from mmdense.models.heads.kmax_predictor import KMaXPredictor
from mmdense.models.layers import (
    BNSettings,
    ConstructorInitModule,
    ConvNorm,
    DropPath,
    LinearNorm,
    as_parameters_of,
    at_least_float32,
    full_precision,
    trunc_normal_,
)
from mmdense.registry import MODELS
from mmdense.utils import ShapeError


@torch.no_grad()
def hard_assignment(mask_logits: Tensor) -> Tensor:
    """One-hot cluster of each pixel; no gradient.

    Args:
        mask_logits (Tensor): ``(B, K, H, W)``.

    Returns:
        Tensor: ``(B, K, H * W)`` of zeros and ones in the dtype of the logits; sums to 1
        over K.
    """
    logits = mask_logits.flatten(2)
    return torch.zeros_like(logits).scatter_(1, logits.argmax(1, keepdim=True), 1.0)


class KMaXDecoderLayer(nn.Module):
    """One layer: auxiliary prediction, k-means update, self-attention, feed-forward network.

    K-means update and self-attention read the same query features, made before either; the
    GELU comes once, after both are added. Gradients do not pass the assignment.

    Submodules in this order: ``pixel_conv``, ``query_conv``, ``pixel_value``, ``predictor``,
    ``kmeans_bn``, ``kmeans_out``, ``query_qkv`` (outputs query, key, value, each head-major),
    ``similarity_bn`` (one channel per head), ``attention_bn``, ``attention_out``, ``ffn_in``,
    ``ffn_out``.

    Args:
        in_channels (int): Channels of the pixel features.
        query_dim (int): Width of the queries.
        bottleneck_channels (int): Width of pixel and query features inside the layer.
        key_channels (int): Total key width.
        value_channels (int): Total value width, also of the pixel values.
        num_heads (int): Heads of the self-attention.
        ffn_dim (int): Hidden width of the feed-forward network.
        predictor (KMaXPredictor): The auxiliary predictor.
        drop_path (float): Probability of each of the three residual branches.
        bn (BNSettings): Batch norm constants.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        query_dim: int,
        bottleneck_channels: int,
        key_channels: int,
        value_channels: int,
        num_heads: int,
        ffn_dim: int,
        predictor: KMaXPredictor,
        drop_path: float,
        bn: BNSettings,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.widths = (key_channels, key_channels, value_channels)
        std = bottleneck_channels**-0.5
        residual: dict[str, Any] = dict(act=False, bn=bn, gamma=0.0)
        self.pixel_conv = ConvNorm(in_channels, bottleneck_channels, bn=bn)
        self.query_conv = LinearNorm(query_dim, bottleneck_channels, bn=bn)
        self.pixel_value = ConvNorm(bottleneck_channels, value_channels, act=False, bn=bn, init=std)
        self.predictor = predictor
        self.kmeans_bn = bn.norm1d(value_channels)
        self.kmeans_out = LinearNorm(value_channels, query_dim, **residual)
        self.query_qkv = LinearNorm(
            bottleneck_channels, sum(self.widths), act=False, bn=bn, init=std
        )
        self.similarity_bn = bn.norm2d(num_heads)
        self.attention_bn = bn.norm1d(value_channels)
        self.attention_out = LinearNorm(value_channels, query_dim, **residual)
        self.ffn_in = LinearNorm(query_dim, ffn_dim, bn=bn)
        self.ffn_out = LinearNorm(ffn_dim, query_dim, **residual)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, pixels: Tensor, queries: Tensor, *, with_values: bool, with_embeddings: bool
    ) -> tuple[Tensor, ClusterPrediction]:
        """Update the queries.

        Args:
            pixels (Tensor): ``(B, in_channels, H, W)``, already through GELU.
            queries (Tensor): ``(B, K, query_dim)``.
            with_values (bool): Whether the prediction needs its vectors.
            with_embeddings (bool): Whether the prediction needs its pixel embeddings.

        Returns:
            tuple: Updated queries, and the prediction of the queries as they came in.
        """
        pixel_space = self.pixel_conv(pixels)
        query_space = self.query_conv(queries)
        prediction = self.predictor(
            query_space,
            query_space if with_values else None,
            pixel_space,
            with_embeddings=with_embeddings,
        )
        centers = self._aggregate(hard_assignment(prediction.mask_logits), pixel_space)
        queries = queries + self.drop_path(self.kmeans_out(centers))
        attended = self.attention_out(self._attend(query_space))
        queries = F.gelu(queries + self.drop_path(attended))
        queries = F.gelu(queries + self.drop_path(self.ffn_out(self.ffn_in(queries))))
        return queries, prediction

    def _aggregate(self, assignment: Tensor, pixel_space: Tensor) -> Tensor:
        """Normalised sum of the pixel values of each cluster, ``(B, K, value_channels)``."""
        if self.training:
            values = self.pixel_value(pixel_space)
            with full_precision(values):
                sums = assignment @ at_least_float32(values).flatten(2).transpose(1, 2)
        else:
            # In eval mode the values are affine in the pixel features: K sums are projected
            # instead of H * W pixels.
            with full_precision(pixel_space):
                pixels = at_least_float32(pixel_space).flatten(2).transpose(1, 2)
                kernel, shift = self.pixel_value.eval_kernel()
                kernel = at_least_float32(kernel.flatten(1))
                counts = assignment.sum(-1, keepdim=True)
                sums = (assignment @ pixels) @ kernel.t() + counts * at_least_float32(shift)
        return _over_tokens(self.kmeans_bn, sums)

    def _attend(self, query_space: Tensor) -> Tensor:
        """Self-attention among the queries, ``(B, K, value_channels)``, through norm and GELU."""
        query, key, value = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for part in self.query_qkv(query_space).split(self.widths, dim=-1)
        )
        with full_precision(query):
            similarity = at_least_float32(query) @ at_least_float32(key).transpose(-1, -2)
            similarity = self.similarity_bn(as_parameters_of(self.similarity_bn, similarity))
            weights = at_least_float32(similarity).softmax(-1)
        heads = weights.to(value.dtype) @ value
        return F.gelu(_over_tokens(self.attention_bn, heads.transpose(1, 2).flatten(2)))


def _over_tokens(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """Batch norm of ``(B, K, C)`` over batch and tokens."""
    with full_precision(x):
        return norm(as_parameters_of(norm, x).flatten(0, 1)).view(x.shape)


@MODELS.register_module()
class KMaXTransformerDecoder(ConstructorInitModule):
    """Transformer decoder of kMaX-DeepLab that predicts one vector per cluster.

    Yu et al., "k-means Mask Transformer" (ECCV 2022); Yang et al., "PolyMaX" (WACV 2024),
    section 3. The layers read the decoder's maps coarse to fine, the finest map is left to
    the final prediction. No positional encoding. Deep supervision is not optional: the
    assignment of each layer learns from its auxiliary prediction alone.

    Submodules in this order: ``queries`` ``(query_dim, num_queries)``; ``layers.N`` (see
    :class:`KMaXDecoderLayer`); ``class_embedding``, ``mask_embedding`` (linear, norm, GELU);
    ``predictor`` (see :class:`KMaXPredictor`). Linear weights are ``(out, in)``: those of the
    equal 1x1 convolutions without the trailing axes.

    Args:
        in_channels (Sequence[int]): Channels of the maps, fine to coarse.
        num_queries (int): K, the number of clusters.
        out_channels (int): D, width of the vector per cluster: classes plus void (with
            ``void_bias``), or the dimensions of the task. 0: no vectors, and no class heads.
        layers_per_scale (Sequence[int]): Layers on each map, coarsest first. Maps beyond
            these, but the finest, are not read. Defaults to (2, 2, 2).
        query_dim (int): Width of the queries. Defaults to 256.
        base_filters (int): Unit of the widths inside a layer. Defaults to 128.
        bottleneck_expansion (int): Bottleneck width over ``base_filters``. Defaults to 2.
        key_expansion (int): Key width over ``base_filters``. Defaults to 1.
        value_expansion (int): Value width over ``base_filters``. Defaults to 2.
        num_heads (int): Heads of the self-attention. Defaults to 8.
        ffn_dim (int): Hidden width of the feed-forward network. Defaults to 2048.
        predictor_hidden (int): Width inside the pixel heads. Defaults to 256.
        embed_dim (int): E, width of the pixel embeddings. Defaults to 128.
        drop_path (float): Drop-path probability of the three branches of each layer.
            Defaults to 0.2.
        void_bias (bool): Start void, the last of D, at probability 0.9. Defaults to False.
        center_mlp_layers (int): Extra layers of the MLP from cluster to vector.
            Defaults to 0.
        use_embeddings (bool): Return pixel embeddings in training and with auxiliary
            predictions. Defaults to True.
        bn_eps (float): Batch norm epsilon. Defaults to 1e-3.
        bn_momentum (float): Batch norm momentum, torch's meaning. Defaults to 0.01.
        init_cfg (dict | None): Initialisation config of mmengine.

    Raises:
        ValueError: If there are more scales than maps, or heads do not divide the widths.
        ShapeError: If the maps are not those of ``in_channels``.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_queries: int,
        out_channels: int,
        *,
        layers_per_scale: Sequence[int] = (2, 2, 2),
        query_dim: int = 256,
        base_filters: int = 128,
        bottleneck_expansion: int = 2,
        key_expansion: int = 1,
        value_expansion: int = 2,
        num_heads: int = 8,
        ffn_dim: int = 2048,
        predictor_hidden: int = 256,
        embed_dim: int = 128,
        drop_path: float = 0.2,
        void_bias: bool = False,
        center_mlp_layers: int = 0,
        use_embeddings: bool = True,
        bn_eps: float = 1e-3,
        bn_momentum: float = 0.01,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        key_channels, value_channels = base_filters * key_expansion, base_filters * value_expansion
        self.in_channels = tuple(in_channels)
        self.layers_per_scale = tuple(layers_per_scale)
        _check_settings(
            self.in_channels, self.layers_per_scale, num_heads, key_channels, value_channels
        )
        self.use_embeddings = use_embeddings
        bn = BNSettings(bn_eps, bn_momentum)
        bottleneck = base_filters * bottleneck_expansion

        def predictor(pixel_channels: int, query_channels: int) -> KMaXPredictor:
            return KMaXPredictor(
                pixel_channels,
                query_channels,
                out_channels,
                hidden_channels=predictor_hidden,
                embed_dim=embed_dim,
                void_bias=void_bias,
                center_mlp_layers=center_mlp_layers,
                bn=bn,
            )

        self.queries = nn.Parameter(torch.empty(query_dim, num_queries))
        self.layers = nn.ModuleList(
            KMaXDecoderLayer(
                channels,
                query_dim=query_dim,
                bottleneck_channels=bottleneck,
                key_channels=key_channels,
                value_channels=value_channels,
                num_heads=num_heads,
                ffn_dim=ffn_dim,
                predictor=predictor(bottleneck, bottleneck),
                drop_path=drop_path,
                bn=bn,
            )
            for channels, depth in zip(reversed(self.in_channels), self.layers_per_scale)
            for _ in range(depth)
        )
        self.class_embedding = LinearNorm(query_dim, query_dim, bn=bn) if out_channels else None
        self.mask_embedding = LinearNorm(query_dim, query_dim, bn=bn)
        self.predictor = predictor(self.in_channels[0], query_dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the queries."""
        trunc_normal_(self.queries, 1.0)

    def forward(
        self, maps: Sequence[Tensor], align_corners: bool = False, auxiliary: bool = True
    ) -> list[ClusterPrediction]:
        """Predict clusters.

        Args:
            maps (Sequence[Tensor]): ``(B, in_channels[i], H_i, W_i)``, fine to coarse, without
                final activation.
            align_corners (bool): Part of the call of every decoder; this one keeps each
                prediction at the size of its own map and resizes nothing.
            auxiliary (bool): Whether to return the predictions of the layers too.

        Returns:
            list[ClusterPrediction]: One per layer in order, then the final one; with
            ``auxiliary=False`` the final one alone. Embeddings are None if
            ``use_embeddings`` is off, and in eval mode without auxiliary predictions.
        """
        return self.forward_states(maps, auxiliary=auxiliary)[0]

    def forward_states(
        self, maps: Sequence[Tensor], auxiliary: bool = True
    ) -> tuple[list[ClusterPrediction], list[Tensor]]:
        """As :meth:`forward`, with the queries ``(B, K, query_dim)`` after each layer."""
        got = tuple(x.shape[1] for x in maps)
        if got != self.in_channels:
            raise ShapeError(
                f'KMaXTransformerDecoder: maps of {got} channels, expected in_channels='
                f'{self.in_channels}, fine to coarse. Set `in_channels` to the `channels` of the '
                'pixel decoder.'
            )
        embeddings = self.use_embeddings and (auxiliary or self.training)
        queries = self.queries.t().expand(maps[0].shape[0], -1, -1)
        predictions: list[ClusterPrediction] = []
        states: list[Tensor] = []
        layers = iter(self.layers)
        for x, depth in zip(reversed(maps), self.layers_per_scale):
            pixels = F.gelu(x)
            for _ in range(depth):
                queries, prediction = next(layers)(
                    pixels,
                    queries,
                    with_values=auxiliary,
                    with_embeddings=embeddings and auxiliary,
                )
                predictions.append(prediction)
                states.append(queries)
        final = self.predictor(
            self.mask_embedding(queries),
            self.class_embedding(queries) if self.class_embedding is not None else None,
            maps[0],
            with_embeddings=embeddings,
        )
        return [*predictions, final] if auxiliary else [final], states


def _check_settings(
    in_channels: tuple[int, ...],
    layers_per_scale: tuple[int, ...],
    num_heads: int,
    key_channels: int,
    value_channels: int,
) -> None:
    if not 0 < len(layers_per_scale) < len(in_channels):
        raise ValueError(
            f'KMaXTransformerDecoder: layers_per_scale={layers_per_scale} for in_channels='
            f'{in_channels}; expected at least one scale and fewer than there are maps, since the '
            'finest map is kept for the final prediction.'
        )
    if key_channels % num_heads or value_channels % num_heads:
        raise ValueError(
            f'KMaXTransformerDecoder: num_heads={num_heads} must divide the key width '
            f'{key_channels} and the value width {value_channels} (`base_filters` times '
            '`key_expansion` and `value_expansion`).'
        )
