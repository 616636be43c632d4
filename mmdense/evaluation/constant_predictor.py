"""The best predictor that does not look at the picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mmdense.registry import METRICS
from mmdense.structures import DenseDataSample
from mmdense.tasks import BaseTask

from .metrics.base import map_to_array

Array = np.ndarray


def best_constants(
    tasks: Mapping[str, BaseTask], maps: Mapping[str, list[Array]]
) -> dict[str, Array]:
    """The constant of each task that scores best on its headline over the given maps.

    Args:
        tasks (Mapping[str, BaseTask]): The tasks.
        maps (Mapping[str, list[Array]]): Task key to ground-truth arrays; tasks without
            a labelled pixel are left out of the result.
    """
    constants = {}
    for key, task in tasks.items():
        labelled = [gt for gt in maps.get(key, []) if task.valid(gt).any()]
        if labelled:
            constants[key] = task.best_constant(labelled)
    return constants


def score_constants(
    tasks: Mapping[str, BaseTask], ground_truths: Iterable[Mapping[str, Array]]
) -> dict[str, float]:
    """Scores of the best constant predictor, chosen on the very pictures it is scored on.

    That makes it the strongest constant there is. A useful model beats it clearly on
    every task.

    Args:
        tasks (Mapping[str, BaseTask]): The tasks, whose own metrics are used.
        ground_truths (Iterable): Per picture: task key to ground-truth array; missing
            tasks are left out.

    Returns:
        dict[str, float]: ``<task>/<metric>`` to value.
    """
    maps: dict[str, list[Array]] = {key: [] for key in tasks}
    for gts in ground_truths:
        for key, gt in gts.items():
            if key in maps:
                maps[key].append(gt)
    scores: dict[str, float] = {}
    for key, constant in best_constants(tasks, maps).items():
        task = tasks[key]
        pairs: list[tuple[Array, Array]] = []
        for gt in maps[key]:
            shape: tuple[Any, ...] = gt.shape
            pairs.append((np.broadcast_to(constant if gt.ndim == 3 else constant[0], shape), gt))
        for cfg in task.metrics:
            metric = METRICS.build(cfg, default_args=dict(task=task))
            scores.update({f'{key}/{name}': v for name, v in metric.score(pairs).items()})
    return scores


def ground_truths(
    dataset: Sequence[Mapping[str, Any]], tasks: Mapping[str, BaseTask]
) -> Iterator[dict[str, Array]]:
    """The ground-truth arrays of a data set, after its pipeline, picture by picture.

    Args:
        dataset (Sequence): Yields ``dict(data_samples=DenseDataSample, ...)``.
        tasks (Mapping[str, BaseTask]): The tasks to read.
    """
    for index in range(len(dataset)):
        sample: DenseDataSample = dataset[index]['data_samples']
        maps = {key: sample.gt(task) for key, task in tasks.items()}
        yield {key: map_to_array(gt) for key, gt in maps.items() if gt is not None}
