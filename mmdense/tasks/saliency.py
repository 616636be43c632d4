"""Saliency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mmdense.registry import TASKS

from .binary import BinaryTask


@TASKS.register_module()
class Saliency(BinaryTask):
    """Salient object masks: probability per pixel; 255 unknown.

    Loss: binary cross-entropy balanced by the share of positives in the batch. Map:
    sigmoid. Headline: maximal F with beta^2 = 0.3 over 19 thresholds, counts pooled
    over the test set (the ATRC protocol).

    Args:
        num_logits (int): Channels that a head predicts. 1 (the default), or 2: background and
            salient, as in ATRC, MQTransformer and DeMT. A softmax over two logits is the
            sigmoid of their difference, and cross-entropy over two classes weighted (1 - w, w)
            is the balanced loss of it, so only the number of parameters differs.
        losses, metrics: As in :class:`BaseTask`.

    Raises:
        ValueError: If ``num_logits`` is neither 1 nor 2.
    """

    key = 'saliency'
    aliases = ('sal',)
    field = 'saliency'
    headline = 'maxF'
    default_losses = (dict(type='BalancedBCELoss', positive_weight=None),)

    def __init__(
        self,
        num_logits: int = 1,
        losses: Sequence[Mapping[str, Any]] | None = None,
        metrics: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(losses, metrics)
        if num_logits not in (1, 2):
            raise ValueError(f"tasks['saliency'].num_logits is {num_logits}; choose 1 or 2.")
        self.num_logits = num_logits

    @property
    def num_channels(self) -> int:
        return self.num_logits

    def activate(self, logits: Tensor) -> Tensor:
        return logits if self.num_logits == 1 else logits[:, 1:] - logits[:, :1]

    def default_metrics(self) -> list[dict[str, Any]]:
        return [dict(type='BinaryFMetric', beta2=0.3)]
