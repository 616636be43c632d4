"""Segmentation with one cluster per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmdense.models.losses.functional import at_least_float32, resize
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.tasks import BaseTask

from .cluster_head import ClusterHead, combine
from .cluster_prediction import ClusterPrediction


@MODELS.register_module()
class ClusterSegHead(ClusterHead):
    """Segmentation head of PolyMaX: K cluster maps, trained with the losses of kMaX-DeepLab.

    Fixed matching: cluster c is class c, and the map is the argmax of the resized mask
    logits. Hungarian matching: clusters are assigned to the classes of each picture, and the
    map is the argmax of the class probabilities weighted by the cluster maps.

    Args:
        task (BaseTask): Injected by the model.
        in_channels (Sequence[int]): Channels of the maps, fine to coarse.
        num_clusters (int | None): K. None: the number of classes, the only choice with fixed
            matching.
        matching (str): ``'fixed'`` or ``'hungarian'``. The latter waits for the device once
            per training step.
        use_class_head (bool): Keep the class head (C + 1 logits per cluster). With fixed
            matching it only weighs the losses.
        decoder (dict): As in :class:`ClusterHead`; with a class head ``void_bias`` is on unless
            stated.
        seg_loss (dict): Config of the loss; it is given ``num_classes``, ``matching`` and
            ``use_class_head``.
        auxiliary_semantic (dict | None): Config of a per-pixel branch on the raw backbone
            maps (``feats.backbone``), for training only, given ``out_channels`` = C + 1. Its
            ``in_channels`` are those of the backbone.
        **kwargs: As in :class:`ClusterHead`, but for ``out_channels`` and what shapes values
            into a map. ``losses`` (None: the task's) train what necks left in
            ``feats.intermediate``, if anything.

    Shape:
        - output: ``(B, C, h, w)`` logits; log-probabilities with Hungarian matching.

    Raises:
        ValueError: If ``num_clusters`` is not the number of classes although matching is
            fixed, or if ``matching`` is unknown or lacks the class head it needs.
    """

    def __init__(
        self,
        task: BaseTask,
        in_channels: int | Sequence[int],
        num_clusters: int | None = None,
        matching: str = 'fixed',
        use_class_head: bool = True,
        decoder: Mapping[str, Any] = dict(type='KMaXTransformerDecoder'),
        seg_loss: Mapping[str, Any] = dict(type='KMaXSegLoss'),
        auxiliary_semantic: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        num_classes = task.num_channels
        num_clusters = num_classes if num_clusters is None else num_clusters
        if matching == 'fixed' and num_clusters != num_classes:
            raise ValueError(
                f"heads['{task.key}']: num_clusters={num_clusters} with matching='fixed', where "
                f'cluster c is class c of the {num_classes} classes. Set num_clusters='
                f"{num_classes}, or matching='hungarian'."
            )
        decoder = {'void_bias': use_class_head, **decoder}
        super().__init__(
            task,
            in_channels,
            num_clusters,
            decoder=decoder,
            out_channels=num_classes + 1 if use_class_head else 0,
            **kwargs,
        )
        self.matching = matching
        self.seg_loss = MODELS.build(
            dict(seg_loss),
            default_args=dict(
                num_classes=num_classes, matching=matching, use_class_head=use_class_head
            ),
        )
        self.auxiliary_semantic = None
        if auxiliary_semantic is not None:
            self.auxiliary_semantic = MODELS.build(
                dict(auxiliary_semantic), default_args=dict(out_channels=num_classes + 1)
            )

    def forward(self, feats: DenseFeatures) -> Tensor:
        return self._logits(self.decode_clusters(feats)[-1])

    def activate_values(self, values: Tensor) -> Tensor:
        """Class logits ``(B, K, C + 1)`` to probabilities with void last, fp32."""
        return at_least_float32(values).softmax(dim=-1)

    def loss(self, feats: DenseFeatures, target: Tensor, valid_mask: Tensor) -> dict[str, Tensor]:
        predictions = self.decode_clusters(feats, auxiliary=self.deep_supervision)
        semantic = None
        if self.auxiliary_semantic is not None:
            semantic = self.auxiliary_semantic(feats.backbone, align_corners=self.corners(feats))
        named = self.seg_loss(predictions, target, valid_mask, semantic, self.corners(feats))
        named |= self.intermediate_losses(feats, target, valid_mask, first=len(predictions) - 1)
        return self.reduce_intermediate(named)

    def predict(self, feats: DenseFeatures, size: tuple[int, int]) -> Tensor:
        return self._logits(self.decode_clusters(feats)[-1], size, self.corners(feats))

    def cluster_maps(
        self, feats: DenseFeatures, size: tuple[int, int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Where the clusters are, and the classes they stand for.

        Returns:
            tuple: Probabilities ``(B, K, h, w)``, and class shares: ``(B, K, C)``, one-hot,
            with fixed matching; ``(B, K, C + 1)`` with void last otherwise.
        """
        final = self.decode_clusters(feats)[-1]
        logits = at_least_float32(final.mask_logits)
        if size is not None:
            logits = resize(logits, size, self.corners(feats))
        probabilities = logits.softmax(dim=1)
        if self.matching == 'hungarian':
            return probabilities, self._values_of(final)
        classes = torch.eye(self.num_clusters, device=logits.device)
        return probabilities, classes.expand(len(logits), -1, -1)

    def _logits(
        self,
        prediction: ClusterPrediction,
        size: tuple[int, int] | None = None,
        align_corners: bool = False,
    ) -> Tensor:
        """Logits per class ``(B, C, h, w)``, resized to ``size`` if given."""
        logits = at_least_float32(prediction.mask_logits)
        if size is not None:
            logits = resize(logits, size, align_corners)
        if self.matching == 'fixed':
            return logits
        # Log of the class mixture: argmax and softmax over classes mean what they should.
        classes = self._values_of(prediction)[..., :-1]
        return combine(logits, classes).clamp(min=1e-12).log()
