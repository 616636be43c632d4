"""Weights from how well each task already does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmdense.registry import BALANCERS
from mmdense.utils import suggest

from .base import BaseBalancer, Combination

#: Keeps indicators away from 0, where the weight is infinite, and from 1, where it is 0.
_MARGIN = 1e-3


@BALANCERS.register_module()
class DynamicTaskPrioritization(BaseBalancer):
    """Difficult tasks weigh most: the focal weight of a moving key performance indicator.

    Guo et al., "Dynamic Task Prioritization for Multitask Learning" (ECCV 2018): task t weighs
    ``-(1 - k_t)^gamma log(k_t)``, where ``k_t = alpha KPI + (1 - alpha) k_t`` follows an indicator
    in (0, 1), higher is better. Differs from the paper: indicators are metrics of the validation,
    so weights change after validations; before the first one every task weighs 1.

    Args:
        kpis (Mapping[str, str | Mapping] | None): Task key to the name of its metric in the
            results of a validation, or to a dict of ``metric`` and ``scale``, a factor that
            brings it into (0, 1), such as 0.01 for percentages. None: whoever trains calls
            :meth:`update_kpi`.
        gamma (float): Focus on difficult tasks, at least 0. Defaults to 1.
        alpha (float): Share of a new value, in (0, 1]. Defaults to 0.5.
        kwargs: Of :class:`BaseBalancer`.

    Raises:
        ValueError: If an argument is out of range, or ``kpis`` names an unknown task.
    """

    needs = frozenset({'kpis'})
    kpi: Tensor

    def __init__(
        self,
        kpis: Mapping[str, str | Mapping[str, Any]] | None = None,
        gamma: float = 1.0,
        alpha: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if gamma < 0 or not 0 < alpha <= 1:
            raise ValueError(
                f'DynamicTaskPrioritization: gamma={gamma}, alpha={alpha}; gamma is at least 0, '
                'alpha in (0, 1].'
            )
        self.gamma, self.alpha = gamma, alpha
        self.sources: dict[str, tuple[str, float]] = {}
        for key, source in (kpis or {}).items():
            self._index(key)
            entry = dict(metric=source) if isinstance(source, str) else source
            self.sources[key] = (entry['metric'], float(entry.get('scale', 1.0)))
        nan = torch.full((len(self.tasks or ()),), float('nan'), dtype=torch.float64)
        self.register_buffer('kpi', nan)

    def _index(self, key: str) -> int:
        tasks = self.tasks or ()
        if key not in tasks:
            raise ValueError(
                f"DynamicTaskPrioritization: '{key}' is no task. {suggest(key, tasks)}"
            )
        return tasks.index(key)

    def combine(self, losses: Tensor, present: Tensor) -> Combination:
        weights = -((1 - self.kpi) ** self.gamma) * self.kpi.log()
        return Combination(torch.where(self.kpi.isnan(), 1.0, weights))

    def update_metrics(self, metrics: Mapping[str, float]) -> None:
        """Results of a validation.

        Raises:
            KeyError: If a metric of ``kpis`` is not among them.
        """
        found = {}
        for key, (name, scale) in self.sources.items():
            if name not in metrics:
                raise KeyError(
                    f"DynamicTaskPrioritization.kpis['{key}']: the validation has no metric "
                    f"'{name}'. {suggest(name, metrics)}"
                )
            found[key] = float(metrics[name]) * scale
        self.update_kpi(found)

    def update_kpi(self, kpis: Mapping[str, float]) -> None:
        """New values; a NaN (a metric of no picture) leaves its task as it is.

        Raises:
            ValueError: If a value is outside [0, 1] or of an unknown task.
        """
        kpi = self.kpi.clone()
        for key, value in kpis.items():
            index = self._index(key)
            if value != value:
                continue
            if not 0 <= value <= 1:
                raise ValueError(
                    f"DynamicTaskPrioritization: the indicator of '{key}' is {value:g}; it must be "
                    'in [0, 1], higher is better. Set its `scale` in `kpis`, 0.01 for percentages.'
                )
            kept = min(max(value, _MARGIN), 1 - _MARGIN)
            old = kpi[index]
            kpi[index] = torch.where(old.isnan(), kept, self.alpha * kept + (1 - self.alpha) * old)
        self.kpi = kpi
