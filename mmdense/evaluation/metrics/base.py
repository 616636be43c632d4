"""What a metric is: stamped with its protocol, exact over processes, asked of the task."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from mmdense.evaluation.counters import Counters, ExactCounters
from mmdense.registry import TASKS
from mmdense.tasks import BaseTask
from mmdense.utils import DataError, ShapeError

Array = np.ndarray
Sample = Mapping[str, Any]


class StampedMetric(BaseMetric):
    """Base of metrics that say how their numbers were made.

    Class attributes:
        higher_is_better (dict[str, bool | None]): Direction of every number; None has none.
        percent (frozenset[str]): Numbers that are stored as fractions and printed in
            percent.
        unit (dict[str, str]): Units for tables.
    """

    higher_is_better: Mapping[str, bool | None] = {}
    percent: frozenset[str] = frozenset()
    unit: dict[str, str] = {}

    @property
    @abstractmethod
    def protocol(self) -> str:
        """How the numbers were made, in one line. Equal lines may be compared."""


class ExactMetric(StampedMetric):
    """Base of metrics that are a function of counters which add up over pictures.

    A subclass turns one sample into counters (:meth:`count`) and the summed counters into
    numbers (:meth:`compute`). The sums are exact, so the numbers are bit-equal for every
    batch size, order and number of processes.

    Args:
        prefix (str): What the names of the results begin with.
    """

    def __init__(self, prefix: str, collect_device: str = 'cpu') -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.counters = ExactCounters()

    @abstractmethod
    def count(self, sample: Sample) -> Counters:
        """Counters of one sample; {} where it has nothing to score."""

    @abstractmethod
    def compute(self, counters: Counters) -> dict[str, float]:
        """Numbers of the summed counters."""

    def process(self, data_batch: Any, data_samples: Sequence[Sample]) -> None:
        for sample in data_samples:
            self.counters.add(self.count(sample))

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        raise NotImplementedError('ExactMetric sums counters itself; call evaluate(size).')

    def evaluate(self, size: int) -> dict[str, float]:
        """Numbers over the ``size`` pictures of the data set, prefixed."""
        total = self.counters.total(size)
        values = self.compute(total) if total else dict.fromkeys(self.higher_is_better, np.nan)
        return {f'{self.prefix}/{name}': float(value) for name, value in values.items()}


class DenseMetric(ExactMetric):
    """Base of metrics over one dense map.

    A subclass turns one picture into additive counters (:meth:`update`) and counters
    into numbers (:meth:`compute`). Everything else is here: reading samples, partial
    labels, exact sums over processes, prefixes.

    Args:
        task (BaseTask | dict | None): The task, or its config. The multi-task
            evaluator passes its own; None builds :attr:`default_task`, so that the
            metric also works alone in any OpenMMLab config.
        prefix (str | None): Prefix of the results. None: the task's own.

    Raises:
        ShapeError: From :meth:`process`, if prediction and ground truth differ in size.
        DataError: From :meth:`process`, if a prediction holds NaN or infinite values.
    """

    default_task: dict[str, Any]

    def __init__(
        self,
        task: BaseTask | Mapping[str, Any] | None = None,
        prefix: str | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        built = task if isinstance(task, BaseTask) else TASKS.build(dict(task or self.default_task))
        super().__init__(prefix or built.prefix, collect_device)
        self.task: BaseTask = built

    @abstractmethod
    def update(self, pred: Array, gt: Array, valid: Array) -> Counters:
        """Counters of one picture.

        Args:
            pred (Array): Decoded map, laid out like ``gt``.
            gt (Array): Ground-truth array of the task, ``(H, W)`` or ``(H, W, D)``.
            valid (Array): ``(H, W)`` bool, pixels that count.
        """

    def valid(self, gt: Array) -> Array:
        """Pixels that count, ``(H, W)`` bool: those whose value the task calls known."""
        return self.task.valid(gt)

    def score(self, pairs: Sequence[tuple[Array, Array]]) -> dict[str, float]:
        """Numbers of ``(pred, gt)`` arrays in this process, outside any runner."""
        counters = ExactCounters()
        for index, (pred, gt) in enumerate(pairs):
            self._require_finite(pred, f'pair {index}')
            counters.add(self.update(pred, gt, self.valid(gt)))
        return self.compute(counters.total(len(pairs)))

    def count(self, sample: Sample) -> Counters:
        pred = sample.get(f'pred_{self.task.field}')
        gt = sample.get(f'gt_{self.task.field}')
        if pred is None or gt is None:
            return {}
        where = name_of(sample)
        pred_map, gt_map = map_to_array(pred['data']), map_to_array(gt['data'])
        if pred_map.shape != gt_map.shape:
            raise ShapeError(
                f"{type(self).__name__} of task '{self.task.key}': prediction "
                f'{pred_map.shape} and ground truth {gt_map.shape} differ for {where}. In test '
                'pipelines keep the ground truth at `ori_shape`, or set '
                'model.test_cfg.resize=False.'
            )
        self._require_finite(pred_map, where)
        return self.update(pred_map, gt_map, self.valid(gt_map))

    def _require_finite(self, pred: Array, where: str) -> None:
        """A NaN compares as neither right nor wrong: no score of it could be trusted."""
        require_finite(pred, f"{type(self).__name__} of task '{self.task.key}'", where)


def require_finite(pred: Array, who: str, where: str) -> None:
    """Raise :class:`DataError` if a predicted map holds NaN or infinite values."""
    if np.issubdtype(pred.dtype, np.floating) and not np.isfinite(pred).all():
        bad = int((~np.isfinite(pred)).sum())
        raise DataError(
            f'{who}: the prediction for {where} holds NaN or infinite values ({bad} of '
            f'{pred.size}); scores need finite numbers. Usual causes are a diverged run and '
            'half precision: test an earlier checkpoint, or without autocast.'
        )


def name_of(sample: Sample) -> str:
    """How messages call a sample."""
    return str(sample.get('img_path', sample.get('sample_id', 'a sample without a path')))


def map_to_array(chw: Any) -> Array:
    """Tensor or array ``(D, H, W)`` to the layout of tasks, ``(H, W)`` or ``(H, W, D)``."""
    array = chw.detach().cpu().numpy() if hasattr(chw, 'detach') else np.asarray(chw)
    if array.ndim == 2:
        return array
    return array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0)


def ratio(numerator: float, denominator: float) -> float:
    """``numerator / denominator``, NaN where nothing was counted."""
    return float(numerator) / float(denominator) if denominator else float('nan')


def require_choice(where: str, value: Any, choices: Sequence[Any]) -> None:
    """Raise ``ValueError`` unless the value of the argument ``where`` is one of ``choices``."""
    if value not in choices:
        shown = [repr(choice) for choice in choices]
        raise ValueError(f'{where} is {value!r}; choose {", ".join(shown[:-1])} or {shown[-1]}.')
