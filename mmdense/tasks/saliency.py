"""Saliency."""

from __future__ import annotations

from typing import Any

from mmdense.registry import TASKS

from .binary import BinaryTask


@TASKS.register_module()
class Saliency(BinaryTask):
    """Salient object masks: probability per pixel; 255 unknown.

    Loss: binary cross-entropy balanced by the share of positives in the batch. Map:
    sigmoid. Headline: maximal F with beta^2 = 0.3 over 19 thresholds, counts pooled
    over the test set (the ATRC protocol). ATRC, MQTransformer and DeMT predict two logits
    (``num_logits=2``). Arguments as in :class:`BinaryTask`.
    """

    key = 'saliency'
    aliases = ('sal',)
    field = 'saliency'
    headline = 'maxF'
    default_losses = (dict(type='BalancedBCELoss', positive_weight=None),)

    def default_metrics(self) -> list[dict[str, Any]]:
        return [dict(type='BinaryFMetric', beta2=0.3)]
