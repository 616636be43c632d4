"""What a metric is: stamped with its protocol, exact over processes, asked of the task."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.structures import BaseDataElement

from mmdense.evaluation.counters import Added, Counters, ExactCounters
from mmdense.evaluation.file_protocol import in_unit_range
from mmdense.registry import TASKS
from mmdense.tasks import BaseTask
from mmdense.utils import DataError, ShapeError

Array = np.ndarray

#: What pipelines of published code make of unknown depths and normals, which are 0 here. No
#: depth of a data set and no component of a normal is 255.
PUBLISHED_UNKNOWN = 255
Sample = Mapping[str, Any]


class StampedMetric(BaseMetric):
    """Base of metrics that say how their numbers were made.

    Attributes:
        higher_is_better (dict[str, bool | None]): Direction of every number; None has none.
        percent (frozenset[str]): Numbers that are stored as fractions and printed in
            percent.
        unit (dict[str, str]): Units for tables.
    """

    higher_is_better: Mapping[str, bool | None] = {}
    percent: frozenset[str] = frozenset()
    unit: dict[str, str] = {}

    @property
    def pictures(self) -> int | None:
        """How many pictures the last numbers are over; None: all that have labels."""
        return None

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
    def count(self, sample: Sample) -> Added:
        """Counters of one sample; {} where it has nothing to score."""

    @abstractmethod
    def compute(self, counters: Counters) -> dict[str, float]:
        """Numbers of the summed counters."""

    def process(self, data_batch: Any, data_samples: Sequence[Sample]) -> None:
        for sample in map(as_mapping, data_samples):
            self.counters.add(self.count(sample))

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        raise NotImplementedError('ExactMetric sums counters itself; call evaluate(size).')

    def evaluate(self, size: int) -> dict[str, float]:
        """Numbers over the ``size`` pictures of the data set, prefixed."""
        values = self._numbers(self.counters.total(size))
        return {f'{self.prefix}/{name}': value for name, value in values.items()}

    def _numbers(self, total: Counters) -> dict[str, float]:
        """:meth:`compute`, and NaN for every number where nothing was counted."""
        values = self.compute(total) if total else dict.fromkeys(self.higher_is_better, np.nan)
        return {name: float(value) for name, value in values.items()}


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
        DataError: From :meth:`process`, if a prediction is NaN or infinite where it counts.
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
    def update(self, pred: Array, gt: Array, valid: Array) -> Added:
        """Counters of one picture.

        Args:
            pred (Array): Decoded map, laid out like ``gt``.
            gt (Array): Ground-truth array of the task, ``(H, W)`` or ``(H, W, D)``.
            valid (Array): ``(H, W)`` bool, pixels that count.
        """

    def valid(self, gt: Array) -> Array:
        """Pixels that count, ``(H, W)`` bool: those whose value the task calls known."""
        return self.task.valid(gt)

    def score(self, pairs: Iterable[tuple[Any, Any]]) -> dict[str, float]:
        """Numbers of ``(pred, gt)`` pairs in this process, outside any runner.

        Args:
            pairs (Iterable): Decoded maps and ground truth, one pair per picture, as arrays or
                tensors ``(H, W)`` or ``(H, W, D)``; ``(D, H, W)`` is understood too.

        Raises:
            ShapeError: If a map has another shape, or the two of a pair differ in size.
            DataError: If a prediction is NaN or infinite where it counts.
        """
        counters, count = ExactCounters(), 0
        for pred, gt in pairs:
            counters.add(self._score_maps(pred, gt, f'pair {count}', channels_first=False))
            count += 1
        return self._numbers(counters.total(count))

    def count(self, sample: Sample) -> Added:
        gt = map_of(sample, 'gt', self.task)
        if gt is None:
            return {}
        pred = self._prediction(sample)
        return self._score_maps(pred, gt, name_of(sample), channels_first=True)

    def _prediction(self, sample: Sample) -> Any:
        """The prediction of a labelled picture; skipping it would make the numbers better."""
        pred = map_of(sample, 'pred', self.task)
        if pred is None:
            found = [str(key) for key in sample if str(key).startswith('pred_')]
            raise DataError(
                f'{type(self).__name__}: {name_of(sample)} has ground truth of task '
                f"'{self.task.key}' but no prediction 'pred_{self.task.field}' (found: "
                f'{", ".join(found) or "none"}). Predict every labelled picture, or leave the '
                'task out of the evaluator.'
            )
        return pred

    def _score_maps(self, pred: Any, gt: Any, where: str, channels_first: bool) -> Added:
        pred_map, gt_map = self._read_pair(pred, gt, where, channels_first)
        valid = self.valid(gt_map)
        # A prediction at a pixel that does not count counts nowhere, NaN included.
        self._require_finite(pred_map[valid], where)
        return self.update(pred_map, gt_map, valid)

    def _read_pair(
        self, pred: Any, gt: Any, where: str, channels_first: bool, gt_name: str = 'ground truth'
    ) -> tuple[Array, Array]:
        """Prediction and truth in the layout of the task, of one size."""
        who = f"{type(self).__name__} of task '{self.task.key}'"
        channels = self.task.gt_channels
        pred_map, gt_map = (
            read_map(value, channels, f'{who}: the {name} of {where}', channels_first)
            for value, name in ((pred, 'prediction'), (gt, gt_name))
        )
        if pred_map.shape != gt_map.shape:
            raise ShapeError(
                f'{who}: prediction {pred_map.shape} and {gt_name} {gt_map.shape} differ for '
                f'{where}. In test pipelines keep the ground truth at `ori_shape`, or set '
                'model.test_cfg.resize=False.'
            )
        return pred_map, gt_map

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


def require_probability(pred: Array, who: str) -> None:
    """Raise :class:`DataError` unless all predictions lie in [0, 1]."""
    if not in_unit_range(pred):
        raise DataError(
            f'{who}: predictions range over [{pred.min():g}, {pred.max():g}], expected '
            'probabilities in [0, 1]. Give the decoded map: after the sigmoid, 8-bit levels '
            'divided by 255.'
        )


def name_of(sample: Sample) -> str:
    """How messages call a sample."""
    return str(sample.get('img_path', sample.get('sample_id', 'a sample without a path')))


def map_of(sample: Sample, kind: str, task: BaseTask) -> Any:
    """The map of a task in a sample, or None.

    Args:
        sample (Sample): Fields are named after the task's ``field``, as in
            ``DenseDataSample``; samples made by hand may have its ``key``: ``pred_depth``.
        kind (str): ``'gt'`` or ``'pred'``.
        task (BaseTask): The task.
    """
    found = sample.get(f'{kind}_{task.field}')
    return sample.get(f'{kind}_{task.key}') if found is None else found


def as_mapping(sample: Any) -> Sample:
    """A sample as metrics read it: ``DenseDataSample`` and its kin become nested dicts."""
    found: Sample = sample.to_dict() if isinstance(sample, BaseDataElement) else sample
    return found


def to_array(value: Any) -> Array:
    """The array of a map: itself, a tensor, ``PixelData``, or ``dict(data=...)`` of these."""
    if isinstance(value, Mapping):
        value = value['data']
    elif isinstance(value, BaseDataElement):
        value = value.get('data')
    if isinstance(value, torch.Tensor):
        # numpy knows no bfloat16.
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    return np.asarray(value)


def map_to_array(chw: Any) -> Array:
    """Tensor or array ``(D, H, W)`` to the layout of tasks, ``(H, W)`` or ``(H, W, D)``."""
    array = to_array(chw)
    if array.ndim == 2:
        return array
    return array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0)


def read_map(value: Any, channels: int, where: str, channels_first: bool) -> Array:
    """A map in the layout of tasks, ``(H, W)`` or ``(H, W, D)``.

    Args:
        value (Any): As in :func:`to_array`, ``(D, H, W)`` or ``(H, W, D)``; D = 1 may be left
            out.
        channels (int): D.
        where (str): What is read, for the message.
        channels_first (bool): What a map is whose first and last size are both D.

    Raises:
        ShapeError: If it is neither.
    """
    array = to_array(value)
    first = array.ndim == 3 and array.shape[0] == channels
    last = array.ndim == 3 and array.shape[-1] == channels
    if channels == 1 and array.ndim == 2:
        return array
    if not first and not last:
        want = '(H, W), (1, H, W)' if channels == 1 else f'(H, W, {channels}), ({channels}, H, W)'
        raise ShapeError(
            f'{where} has shape {array.shape}, expected a decoded map {want} of one picture. Take '
            'pictures out of their batch, and the argmax of class scores.'
        )
    if first and (channels_first or not last):
        array = array.transpose(1, 2, 0)
    return array[..., 0] if channels == 1 else array


def ratio(numerator: float, denominator: float) -> float:
    """``numerator / denominator``, NaN where nothing was counted."""
    return float(numerator) / float(denominator) if denominator else float('nan')


def require_choice(where: str, value: Any, choices: Sequence[Any]) -> None:
    """Raise ``ValueError`` unless the value of the argument ``where`` is one of ``choices``."""
    if value not in choices:
        shown = [repr(choice) for choice in choices]
        raise ValueError(f'{where} is {value!r}; choose {", ".join(shown[:-1])} or {shown[-1]}.')
