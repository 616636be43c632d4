"""Any dense map as a soft choice among cluster values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmdense.models.losses.functional import at_least_float32, full_precision, resize
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.tasks import BaseTask

from .base_head import BaseDenseHead
from .cluster_prediction import ClusterPrediction

#: Stride of the finest map, at which auxiliary layers are supervised.
STRIDE = 4
_ACTIVATIONS = ('none', 'sigmoid', 'l2norm')


def combine(mask_logits: Tensor, values: Tensor) -> Tensor:
    """``y(x) = sum_k softmax_k(mask_logits)(x) * values_k``, in fp32 as one matrix product.

    Args:
        mask_logits (Tensor): ``(B, K, h, w)``.
        values (Tensor): ``(B, K, D)``.

    Returns:
        Tensor: ``(B, D, h, w)``. The order of the clusters does not matter.
    """
    with full_precision(mask_logits):
        shares = at_least_float32(mask_logits).flatten(2).softmax(dim=1)
        y = values.to(shares.dtype).transpose(1, 2) @ shares
    return y.unflatten(2, mask_logits.shape[2:])


@MODELS.register_module()
class ClusterHead(BaseDenseHead):
    """Mask-transformer head for any task (PolyMaX, arXiv 2311.05770, section 3).

    A transformer decoder predicts K cluster maps and one D-vector per cluster, an MLP of the
    cluster's centre; the output is ``y = sum_k softmax_k(logits) * value_k``. Raw values
    (no ``activation``, no ``normalize_output``) pass ``task.activate`` like any logits;
    bounded or normalised ones are in the domain of the losses already.

    Auxiliary layers are resized to stride 4 and compared with every 4th pixel of the ground
    truth, the final one at full size. The assignment of pixels to clusters in the decoder
    learns from the auxiliary losses alone, so ``deep_supervision=False`` leaves parameters
    without a gradient.

    Args:
        task (BaseTask): Injected by the model.
        in_channels (Sequence[int]): Channels of the maps, fine to coarse.
        num_clusters (int): K.
        decoder (dict): Config of the transformer decoder; it is given ``in_channels``,
            ``num_queries`` and ``out_channels`` unless it states them.
        out_channels (int | None): D. None: ``task.num_channels``.
        activation (str | None): Of the cluster values: ``'none'``, ``'sigmoid'`` (into
            ``value_range``, or [0, 1]) or ``'l2norm'`` (unit vectors). None: ``'sigmoid'``
            with a ``value_range``, else ``'none'``.
        value_range (Sequence | None): ``(low, high)``, or one such pair per dimension.
        normalize_output (bool): L2-normalise y, also after resizing.
        upsample_logits_first (bool): Resize the K maps to full size before combining:
            sharper borders, K / D times the memory.
        deep_supervision (bool): Train on the auxiliary layers too.
        in_index (int | Sequence[int] | str): The maps to read; all by default.
        **kwargs: As in :class:`BaseDenseHead`.

    Shape:
        - output: ``(B, D, h, w)`` at stride 4.

    Raises:
        ValueError: If ``num_clusters`` is below 1, ``activation`` is unknown, or
            ``value_range`` is empty, of the wrong length, or without ``'sigmoid'``.
    """

    def __init__(
        self,
        task: BaseTask,
        in_channels: int | Sequence[int],
        num_clusters: int,
        decoder: Mapping[str, Any] = dict(type='KMaXTransformerDecoder'),
        out_channels: int | None = None,
        activation: str | None = None,
        value_range: Sequence[Any] | None = None,
        normalize_output: bool = False,
        upsample_logits_first: bool = False,
        deep_supervision: bool = True,
        in_index: int | Sequence[int] | str = 'all',
        **kwargs: Any,
    ) -> None:
        super().__init__(task, in_channels, in_index, **kwargs)
        if num_clusters < 1:
            raise ValueError(
                f'{self.config_key}.num_clusters is {num_clusters}; it must be 1 or more.'
            )
        self.num_clusters = num_clusters
        self.out_channels = task.num_channels if out_channels is None else out_channels
        if activation is None:
            activation = 'none' if value_range is None else 'sigmoid'
        self.activation = activation
        self.normalize_output = normalize_output
        self.upsample_logits_first = upsample_logits_first
        self.deep_supervision = deep_supervision
        self._register_range(value_range)
        self.decoder = MODELS.build(
            dict(decoder),
            default_args=dict(
                in_channels=self.in_channels,
                num_queries=num_clusters,
                out_channels=self.out_channels,
            ),
        )

    def forward(self, feats: DenseFeatures) -> Tensor:
        final = self.decode_clusters(feats)[-1]
        return combine(final.mask_logits, self._values_of(final))

    def decode_clusters(
        self, feats: DenseFeatures, auxiliary: bool = False
    ) -> list[ClusterPrediction]:
        """Predictions of the decoder: auxiliary layers in order if asked for, final last."""
        return self.decoder(
            self.select(feats), align_corners=self.corners(feats), auxiliary=auxiliary
        )

    def activate_values(self, values: Tensor) -> Tensor:
        """Raw cluster values ``(B, K, D)`` to values in the unit of the map, fp32."""
        values = at_least_float32(values)
        if self.activation == 'l2norm':
            return F.normalize(values, dim=-1, eps=1e-6)
        if self.activation == 'sigmoid':
            return self.range_low + (self.range_high - self.range_low) * values.sigmoid()
        return values

    def loss(self, feats: DenseFeatures, target: Tensor, valid_mask: Tensor) -> dict[str, Tensor]:
        *auxiliary, final = self.decode_clusters(feats, auxiliary=self.deep_supervision)
        pred = self._map(final, _size(target), feats)
        named = self.named_losses(pred, target, valid_mask)
        # Nearest-sampled ground truth at stride 4, the stride of the final maps.
        coarse, coarse_mask = target[..., ::STRIDE, ::STRIDE], valid_mask[..., ::STRIDE, ::STRIDE]
        for index, prediction in enumerate(auxiliary):
            pred = self._map(prediction, _size(coarse), feats)
            named |= self.named_losses(pred, coarse, coarse_mask, f'aux{index}.')
        named |= self.intermediate_losses(feats, target, valid_mask, first=len(auxiliary))
        return self.reduce_intermediate(named)

    def predict(self, feats: DenseFeatures, size: tuple[int, int]) -> Tensor:
        return self._map(self.decode_clusters(feats)[-1], size, feats)

    def cluster_maps(
        self, feats: DenseFeatures, size: tuple[int, int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """What the clusters stand for and where (PolyMaX, Figure 8).

        Args:
            feats (DenseFeatures): After the last neck.
            size (tuple[int, int] | None): Size of the maps. None: as decoded (stride 4).

        Returns:
            tuple: Probabilities ``(B, K, h, w)``, which sum to 1 over K, and values
            ``(B, K, D)`` in the unit of the map.
        """
        final = self.decode_clusters(feats)[-1]
        logits = at_least_float32(final.mask_logits)
        if size is not None:
            logits = resize(logits, size, self.corners(feats))
        return logits.softmax(dim=1), self._values_of(final)

    def explain(self, feats: DenseFeatures) -> dict[str, tuple[Tensor, Tensor]]:
        return dict(clusters=self.cluster_maps(feats))

    def _values_of(self, prediction: ClusterPrediction) -> Tensor:
        if prediction.values is None:
            raise ValueError(
                f'{self.config_key}.decoder returned no cluster values; its `out_channels` must '
                f'be {self.out_channels}.'
            )
        return self.activate_values(prediction.values)

    def _map(
        self, prediction: ClusterPrediction, size: tuple[int, int], feats: DenseFeatures
    ) -> Tensor:
        """The map of one prediction at ``size``, in the domain of the losses."""
        values, corners = self._values_of(prediction), self.corners(feats)
        if self.upsample_logits_first:
            y = combine(resize(prediction.mask_logits, size, corners), values)
        else:
            y = resize(combine(prediction.mask_logits, values), size, corners)
        if self.normalize_output:
            return F.normalize(y, dim=1, eps=1e-6)
        return self.task.activate(y) if self.activation == 'none' else y

    def _register_range(self, value_range: Sequence[Any] | None) -> None:
        if self.activation not in _ACTIVATIONS:
            raise ValueError(
                f'{self.config_key}.activation is {self.activation!r}; choose one of '
                f'{_ACTIVATIONS}.'
            )
        if value_range is not None and self.activation != 'sigmoid':
            raise ValueError(
                f"{self.config_key}: value_range={value_range} needs activation='sigmoid', "
                f'got {self.activation!r}. Drop one of the two.'
            )
        limits = np.asarray((0.0, 1.0) if value_range is None else value_range, np.float32)
        if (
            limits.shape not in ((2,), (self.out_channels, 2))
            or (limits[..., 0] >= limits[..., 1]).any()
        ):
            raise ValueError(
                f'{self.config_key}.value_range is {value_range}; give (low, high) with low < '
                f'high, or {self.out_channels} such pairs, one per dimension.'
            )
        # Not part of a checkpoint: the config states them.
        self.register_buffer('range_low', torch.tensor(limits[..., 0]), persistent=False)
        self.register_buffer('range_high', torch.tensor(limits[..., 1]), persistent=False)


def _size(maps: Tensor) -> tuple[int, int]:
    return maps.shape[-2], maps.shape[-1]
