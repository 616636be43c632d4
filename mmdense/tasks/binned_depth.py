"""Depth by classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmdense.registry import TASKS
from mmdense.utils.quantization import check_log_bins, log_bin_centers

from .depth import Depth


@TASKS.register_module()
class BinnedDepth(Depth):
    """Depth as one of K logarithmic bins: the auxiliary depth of ATRC, or a task of its own.

    A head predicts K logits; the loss is cross-entropy with the bin of the ground truth, and the
    map is the mean of the bin centres weighted by the softmax. Ground truth, valid pixels and
    metrics are those of :class:`Depth`.

    Args:
        low (float): Lower end of the first bin; nearer pixels belong to it. Defaults to 0.7.
        high (float): Upper end of the last bin; farther pixels belong to it. Defaults to 10.
        num_bins (int): K. Defaults to 40.
        losses (Sequence[dict] | None): None: ``LogBinCrossEntropyLoss`` of these bins.
        **kwargs: As in :class:`Depth`, but ``activation`` and ``initial_depth``.

    Raises:
        ValueError: If the bins are empty, or fewer than two.
    """

    def __init__(
        self,
        low: float = 0.7,
        high: float = 10.0,
        num_bins: int = 40,
        losses: Sequence[Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        check_log_bins("tasks['depth']", low, high, num_bins)
        self.low, self.high, self.num_bins = low, high, num_bins
        if losses is None:
            bins = dict(low=low, high=high, num_bins=num_bins)
            losses = [dict(type='LogBinCrossEntropyLoss', **bins)]
        super().__init__(losses=losses, activation='identity', **kwargs)

    @property
    def num_channels(self) -> int:
        return self.num_bins

    @property
    def initial_bias(self) -> float:
        return 0.0

    def decode(self, pred: Tensor) -> Tensor:
        centers = log_bin_centers(self.low, self.high, self.num_bins).to(pred.device)
        depth = torch.einsum('bkhw,k->bhw', pred.float().softmax(1), centers)[:, None]
        return super().decode(depth)
