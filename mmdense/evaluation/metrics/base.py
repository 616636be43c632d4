"""What a dense metric is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from mmdense.evaluation.counters import Counters, ExactCounters
from mmdense.registry import TASKS
from mmdense.tasks import BaseTask
from mmdense.utils import ShapeError

Array = np.ndarray


class DenseMetric(BaseMetric):
    """Base of metrics over dense maps.

    A subclass turns one picture into additive counters (:meth:`update`) and counters
    into numbers (:meth:`compute`). Everything else is here: reading samples, partial
    labels, exact sums over processes, prefixes.

    Args:
        task (BaseTask | dict | None): The task, or its config. The multi-task
            evaluator passes its own; None builds :attr:`default_task`, so that the
            metric also works alone in any OpenMMLab config.
        prefix (str | None): Prefix of the results. None: the task's own.

    Class attributes:
        higher_is_better (dict[str, bool]): Direction of every number.
        percent (frozenset[str]): Numbers that are stored as fractions and printed in
            percent.
        unit (dict[str, str]): Units for tables.
    """

    default_task: dict[str, Any]
    higher_is_better: dict[str, bool] = {}
    percent: frozenset[str] = frozenset()
    unit: dict[str, str] = {}

    def __init__(
        self,
        task: BaseTask | Mapping[str, Any] | None = None,
        prefix: str | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        built = task if isinstance(task, BaseTask) else TASKS.build(dict(task or self.default_task))
        super().__init__(collect_device=collect_device, prefix=prefix or built.prefix)
        self.task: BaseTask = built
        self.counters = ExactCounters()

    @property
    @abstractmethod
    def protocol(self) -> str:
        """How the numbers were made, in one line. Equal lines may be compared."""

    @abstractmethod
    def update(self, pred: Array, gt: Array, valid: Array) -> Counters:
        """Counters of one picture.

        Args:
            pred (Array): Decoded map, laid out like ``gt``.
            gt (Array): Ground-truth array of the task, ``(H, W)`` or ``(H, W, D)``.
            valid (Array): ``(H, W)`` bool, pixels with a known value.
        """

    @abstractmethod
    def compute(self, counters: Counters) -> dict[str, float]:
        """Numbers of the summed counters."""

    def score(self, pairs: Sequence[tuple[Array, Array]]) -> dict[str, float]:
        """Numbers of ``(pred, gt)`` arrays in this process, outside any runner."""
        counters = ExactCounters()
        for pred, gt in pairs:
            counters.add(self.update(pred, gt, self.task.valid(gt)))
        return self.compute(counters.total(len(pairs)))

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        for sample in data_samples:
            pred = sample.get(f'pred_{self.task.field}')
            gt = sample.get(f'gt_{self.task.field}')
            if pred is None or gt is None:
                self.counters.add({})
                continue
            pred_map, gt_map = map_to_array(pred['data']), map_to_array(gt['data'])
            if pred_map.shape != gt_map.shape:
                raise ShapeError(
                    f"{type(self).__name__} of task '{self.task.key}': prediction "
                    f'{pred_map.shape} and ground truth {gt_map.shape} differ for '
                    f'{sample.get("img_path", "a sample without a path")}. In test pipelines '
                    'keep the ground truth at `ori_shape`, or set model.test_cfg.resize=False.'
                )
            self.counters.add(self.update(pred_map, gt_map, self.task.valid(gt_map)))

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        raise NotImplementedError('DenseMetric sums counters itself; call evaluate(size).')

    def evaluate(self, size: int) -> dict[str, float]:
        """Numbers over the ``size`` pictures of the data set, prefixed by the task."""
        total = self.counters.total(size)
        values = self.compute(total) if total else dict.fromkeys(self.higher_is_better, np.nan)
        return {f'{self.prefix}/{name}': float(value) for name, value in values.items()}


def map_to_array(chw: Any) -> Array:
    """Tensor or array ``(D, H, W)`` to the layout of tasks, ``(H, W)`` or ``(H, W, D)``."""
    array = chw.detach().cpu().numpy() if hasattr(chw, 'detach') else np.asarray(chw)
    if array.ndim == 2:
        return array
    return array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0)


def ratio(numerator: float, denominator: float) -> float:
    """``numerator / denominator``, NaN where nothing was counted."""
    return float(numerator) / float(denominator) if denominator else float('nan')
