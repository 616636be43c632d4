"""The training loss of boundaries as a score: for choosing a checkpoint, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmdense.evaluation.counters import Counters
from mmdense.registry import METRICS
from mmdense.tasks import BaseTask

from .base import Array, DenseMetric, ratio, require_probability

# Probabilities this close to 0 or 1 have no finite logit in float32.
_EPS = 1e-7


@METRICS.register_module()
class EdgeLossMetric(DenseMetric):
    """Balanced binary cross-entropy of predicted boundaries; not a publishable number.

    The mean over known pixels of ``w y softplus(-x) + (1 - w) (1 - y) softplus(x)``, where
    y is the label and x the logit of the predicted probability (cut to [1e-7, 1 - 1e-7]).
    w is 0.95 in ASTMT and InvPT; ATRC has 0.8 on NYUD-v2 and 0.95 on PASCAL-Context.

    Args:
        positive_weight (float | None): w, in [0, 1]. None: the share of negatives among all
            pixels of the test set (HED).
        logit_of_probability (bool): False reproduces the meters of MTI-Net and InvPT, which
            take the probability itself for the logit, so that the loss they print is not
            the one they train. It also is what :meth:`score` needs to take logits: float32
            probabilities near 1 hold little of them.
        task, prefix: As in :class:`DenseMetric`.

    Raises:
        ValueError: If ``positive_weight`` is outside [0, 1].
        DataError: From :meth:`process`, if a prediction is no probability.
    """

    default_task = dict(type='Boundary')
    higher_is_better = dict(loss=False)

    def __init__(
        self,
        positive_weight: float | None = 0.95,
        logit_of_probability: bool = True,
        task: BaseTask | Mapping[str, Any] | None = None,
        prefix: str | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(task, prefix, collect_device)
        if positive_weight is not None and not 0 <= positive_weight <= 1:
            raise ValueError(
                f'EdgeLossMetric.positive_weight is {positive_weight}; give a number in [0, 1], '
                'or None for the share of negatives.'
            )
        self.positive_weight = positive_weight
        self.logit_of_probability = logit_of_probability

    @property
    def protocol(self) -> str:
        weight = (
            'share of negatives' if self.positive_weight is None else f'{self.positive_weight:g}'
        )
        logit = '' if self.logit_of_probability else ', probability taken for the logit'
        return f'balanced BCE, w={weight}{logit}, for model selection only, not publishable'

    def update(self, pred: Array, gt: Array, valid: Array) -> Counters:
        x = pred[valid].astype(np.float64)
        if self.logit_of_probability:
            require_probability(x, f"EdgeLossMetric of task '{self.task.key}'")
            x = np.clip(x, _EPS, 1 - _EPS)
            x = np.log(x) - np.log1p(-x)
        positive = gt[valid] == 1
        return dict(
            sums=np.asarray(
                [np.logaddexp(0, -x[positive]).sum(), np.logaddexp(0, x[~positive]).sum()]
            ),
            pixels=np.asarray([int(positive.sum()), int((~positive).sum())]),
        )

    def compute(self, counters: Counters) -> dict[str, float]:
        positives, negatives = map(int, counters['pixels'])
        count = positives + negatives
        weight = self.positive_weight
        if weight is None:
            weight = ratio(negatives, count)
        on, off = counters['sums']
        return dict(loss=ratio(weight * on + (1 - weight) * off, count))
