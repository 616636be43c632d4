"""What metrics over several maps of one picture share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmdense.tasks import BaseTask, build_tasks
from mmdense.utils import suggest

from .base import Array, Sample, map_of, map_to_array, name_of, require_finite


def need_tasks(who: str, tasks: Mapping[str, Any], keys: Sequence[str]) -> dict[str, BaseTask]:
    """The tasks ``keys`` of a config's tasks.

    Raises:
        KeyError: If one is missing; ``who`` names the metric that needs it.
    """
    built = build_tasks(tasks)
    for key in keys:
        if key not in built:
            raise KeyError(
                f"{who} compares the tasks {', '.join(keys)}; `tasks` has no '{key}'. "
                f'{suggest(key, built)} Add the task, or drop the metric from '
                'evaluator.cross_task.'
            )
    return {key: built[key] for key in keys}


def predicted(who: str, task: BaseTask, sample: Sample) -> Array | None:
    """The predicted map of a task, or None.

    Raises:
        DataError: If it holds NaN or infinite values.
    """
    field = map_of(sample, 'pred', task)
    if field is None:
        return None
    found = map_to_array(field)
    require_finite(found, f"{who}, task '{task.key}'", name_of(sample))
    return found
