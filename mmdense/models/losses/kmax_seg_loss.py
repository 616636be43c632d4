"""Segmentation losses of kMaX-DeepLab."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmdense.registry import MODELS

from . import functional as losses

if TYPE_CHECKING:
    from mmdense.models.heads.cluster_prediction import ClusterPrediction

#: Ground truth is read at every 4th pixel, the stride of the mask logits.
STRIDE = 4
_VOID = 255


@MODELS.register_module()
class KMaXSegLoss(nn.Module):
    """Mask, class, instance-discrimination and auxiliary semantic terms for segmentation.

    kMaX-DeepLab (Yu et al., ECCV 2022) as used by PolyMaX (arXiv 2311.05770, section 3). All
    layers get the same terms; matching and stop-gradient weights come from the final one.
    Every term is a value per picture, then the mean over the pictures that have labels.

    The Hungarian similarity is mask dice similarity x class probability; the assignment runs
    on the host and waits for the device once per step.

    Args:
        num_classes (int): C.
        matching (str): ``'fixed'``: cluster c is class c. ``'hungarian'``: one-to-one
            assignment per picture.
        use_class_head (bool): False drops the class term and sets its weights in the dice
            term to 1; only with fixed matching.
        mask_id_weight (float): Factor of the mask-id cross-entropy.
        dice_weight (float): Factor of the dice term.
        class_weight (float): Factor of the class term.
        instance_weight (float): Factor of pixel-wise instance discrimination.
        semantic_weight (float): Factor of the auxiliary semantic branch, once, not per layer.
        num_samples (int): Pixels per picture for instance discrimination. The kMaX row for
            ADE20K at 641; 4096 at 1281.
        sample_temperature (float): Strength of the preference for small classes.
        similarity_temperature (float): Divisor of the embedding similarities.
        semantic_samples (int): Pixels per picture for the semantic branch.
        semantic_temperature (float): As ``sample_temperature``, for the semantic branch.
        loss_weight (float): Factor on everything.

    Raises:
        ValueError: If ``matching`` is unknown, or Hungarian without a class head.
    """

    def __init__(
        self,
        num_classes: int,
        matching: str = 'fixed',
        use_class_head: bool = True,
        mask_id_weight: float = 0.3,
        dice_weight: float = 3.0,
        class_weight: float = 3.0,
        instance_weight: float = 1.0,
        semantic_weight: float = 1.0,
        num_samples: int = 1024,
        sample_temperature: float = 1.5,
        similarity_temperature: float = 0.3,
        semantic_samples: int = 1024,
        semantic_temperature: float = 2.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if matching not in ('fixed', 'hungarian'):
            raise ValueError(
                f"KMaXSegLoss: matching is {matching!r}; choose 'fixed' or 'hungarian'."
            )
        if matching == 'hungarian' and not use_class_head:
            raise ValueError(
                "KMaXSegLoss: matching='hungarian' needs use_class_head=True; without it nothing "
                'says which class a cluster stands for.'
            )
        self.num_classes = num_classes
        self.matching = matching
        self.use_class_head = use_class_head
        self.weights = dict(
            mask_id=loss_weight * mask_id_weight,
            dice=loss_weight * dice_weight,
            instance=loss_weight * instance_weight,
            semantic=loss_weight * semantic_weight,
        )
        # `class` is a keyword.
        self.weights['class'] = loss_weight * class_weight
        self.num_samples = num_samples
        self.sample_temperature = sample_temperature
        self.similarity_temperature = similarity_temperature
        self.semantic_samples = semantic_samples
        self.semantic_temperature = semantic_temperature

    def forward(
        self,
        predictions: Sequence[ClusterPrediction],
        target: Tensor,
        valid_mask: Tensor,
        semantic_logits: Tensor | None = None,
        align_corners: bool = False,
    ) -> dict[str, Tensor]:
        """Losses of all layers.

        Args:
            predictions (Sequence[ClusterPrediction]): Auxiliary layers in order, final last.
            target (Tensor): ``(B, 1, H, W)`` labels at full size.
            valid_mask (Tensor): ``(B, 1, H, W)`` bool.
            semantic_logits (Tensor | None): ``(B, C + 1, h, w)`` of the auxiliary branch.
            align_corners (bool): For bilinear resizing to stride 4.

        Returns:
            dict[str, Tensor]: ``loss_mask_id``, ``loss_dice``, ``loss_class``,
            ``loss_instance`` of the final layer, the same with ``aux{i}.`` in front of the
            others, and ``loss_semantic``.
        """
        labels = torch.where(valid_mask, target.long(), _VOID)[:, 0, ::STRIDE, ::STRIDE]
        size = (labels.shape[1], labels.shape[2])
        labels = labels.flatten(1)
        one_hot = losses.one_hot_labels(labels, self.num_classes)
        with losses.full_precision(target):
            values = self._mask_terms(predictions, labels, one_hot, size, align_corners)
            if self.weights['instance'] > 0:
                values['instance'] = self._instance_term(
                    predictions, labels, one_hot, size, align_corners
                )
            named = self._name(values, len(predictions))
            if semantic_logits is not None:
                named['loss_semantic'] = self.weights['semantic'] * self._semantic_term(
                    semantic_logits, labels, one_hot, size, align_corners
                )
        return named

    def _mask_terms(
        self,
        predictions: Sequence[ClusterPrediction],
        labels: Tensor,
        one_hot: Tensor,
        size: tuple[int, int],
        align_corners: bool,
    ) -> dict[str, Tensor]:
        logits = torch.stack(
            [losses.resize(p.mask_logits, size, align_corners) for p in predictions]
        )
        log_p = logits.flatten(3).log_softmax(dim=2)
        num_clusters = log_p.shape[2]
        class_logits = self._class_logits(predictions)
        if class_logits is None or self.matching == 'fixed':
            matching = losses.fixed_matching(one_hot.sum(dim=2))
        else:
            matching = losses.hungarian_matching(
                log_p[-1].exp(), class_logits[-1].softmax(dim=-1), one_hot
            )
        targets = losses.mask_targets(labels, one_hot, matching, num_clusters)
        terms = dict(mask_id=losses.mask_id_cross_entropy(log_p, targets))
        if class_logits is None:
            confidence = torch.ones_like(targets.present, dtype=log_p.dtype)
        else:
            confidence = losses.class_confidence(class_logits[-1], targets)
            quality = losses.mask_quality(log_p[-1], targets)
            terms['class'] = losses.class_cross_entropy(class_logits, targets, quality)
        terms['dice'] = losses.weighted_dice(log_p, targets, confidence)
        return terms

    def _class_logits(self, predictions: Sequence[ClusterPrediction]) -> Tensor | None:
        if not self.use_class_head:
            return None
        values = [p.values for p in predictions if p.values is not None]
        if len(values) < len(predictions):
            raise ValueError(
                'KMaXSegLoss: a prediction has no class logits (`values` is None) although '
                'use_class_head=True. Let the decoder compute them, or set use_class_head=False.'
            )
        return losses.at_least_float32(torch.stack(values))

    def _instance_term(
        self,
        predictions: Sequence[ClusterPrediction],
        labels: Tensor,
        one_hot: Tensor,
        size: tuple[int, int],
        align_corners: bool,
    ) -> Tensor:
        maps = [p.embeddings for p in predictions if p.embeddings is not None]
        if len(maps) < len(predictions):
            raise ValueError(
                'KMaXSegLoss: a prediction has no pixel embeddings although instance_weight > 0. '
                'Let the decoder return them, or set instance_weight=0.'
            )
        index = losses.sample_pixels(labels, one_hot, self.num_samples, self.sample_temperature)
        sampled = torch.stack([losses.sample_maps(m, index, size, align_corners) for m in maps])
        return losses.instance_discrimination(
            sampled, labels.gather(1, index), self.num_classes, self.similarity_temperature
        )

    def _semantic_term(
        self,
        logits: Tensor,
        labels: Tensor,
        one_hot: Tensor,
        size: tuple[int, int],
        align_corners: bool,
    ) -> Tensor:
        index = losses.sample_pixels(
            labels, one_hot, self.semantic_samples, self.semantic_temperature
        )
        sampled = losses.sample_maps(logits, index, size, align_corners)
        return losses.sampled_cross_entropy(sampled, labels.gather(1, index), self.num_classes)

    def _name(self, terms: dict[str, Tensor], num_layers: int) -> dict[str, Tensor]:
        """Values ``(L,)`` per term to one weighted scalar per layer and term."""
        named = {}
        for layer in (num_layers - 1, *range(num_layers - 1)):
            prefix = '' if layer == num_layers - 1 else f'aux{layer}.'
            for term, values in terms.items():
                named[f'{prefix}loss_{term}'] = self.weights[term] * values[layer]
        return named
