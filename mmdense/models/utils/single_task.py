"""Trained single-task models as the start of a model with a network per task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from mmdense.utils import suggest

from .pretrained import LoadReport, compare_state_dicts, read_state_dict


def merge_single_task(model: Any, checkpoints: Mapping[str, str]) -> dict[str, LoadReport]:
    """Load trained single-task models into the networks and heads of a multi-network model.

    Cross-Stitch and NDDR-CNN start from them. The backbone of a checkpoint goes to
    ``backbone.networks.<task>``, its head of the task to ``heads.<task>``; layers between the
    networks stay as they are. A checkpoint of ``TaskBackbones`` holds all tasks and may be
    named for each. Nothing is loaded unless everything fits.

    Args:
        model (DensePredictor): With ``TaskBackbones``, ``CrossStitchBackbone`` or
            ``NDDRBackbone`` as backbone.
        checkpoints (Mapping[str, str]): Task, by any name that mmdense knows, to the path or URL
            of its checkpoint. Every task of the model needs one.

    Returns:
        dict[str, LoadReport]: Per task key, the keys that were loaded.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the model has no network per task, a task is unknown, missing or named
            twice, or a checkpoint lacks weights, has others, or has them in other shapes.
    """
    backbone = getattr(model, 'backbone', None)
    if not hasattr(backbone, 'networks'):
        raise ValueError(
            f'merge_single_task: the backbone is a {type(backbone).__name__}, which has no network '
            "per task. Use type='CrossStitchBackbone', 'NDDRBackbone' or 'TaskBackbones'."
        )
    paths = _by_key(model.tasks, checkpoints)
    offered: dict[str, Tensor] = {}
    reports: dict[str, LoadReport] = {}
    for key, path in paths.items():
        task = model.tasks[key]
        weights = read_state_dict(path, 'merge_single_task')
        where = f"merge_single_task: '{path}', given for task '{key}'"
        found = _of_task(weights, key, (key, *task.aliases), where)
        own = {name: value for name, value in model.state_dict().items() if _belongs(name, key)}
        reports[key] = _compare(own, found, where)
        offered |= {name: found[name] for name in reports[key].matched}
    model.load_state_dict(offered, strict=False)
    return reports


def _by_key(tasks: Mapping[str, Any], checkpoints: Mapping[str, str]) -> dict[str, str]:
    """Checkpoints in the order of the tasks, by task key."""
    names = {name: task.key for task in tasks.values() for name in (task.key, *task.aliases)}
    paths: dict[str, str] = {}
    for name, path in checkpoints.items():
        if name not in names:
            raise ValueError(
                f"merge_single_task: the model has no task '{name}'. {suggest(name, tasks)}"
            )
        if names[name] in paths:
            raise ValueError(f"merge_single_task: task '{names[name]}' is given two checkpoints.")
        paths[names[name]] = path
    missing = [key for key in tasks if key not in paths]
    if missing:
        raise ValueError(
            f'merge_single_task: no checkpoint for {missing}. Give one for every task of the '
            f'model: {", ".join(tasks)}.'
        )
    return {key: paths[key] for key in tasks}


def _belongs(name: str, key: str) -> bool:
    return name.startswith((f'backbone.networks.{key}.', f'heads.{key}.'))


def _of_task(
    weights: Mapping[str, Tensor], key: str, names: Iterable[str], where: str
) -> dict[str, Tensor]:
    """The weights of one task, in the naming of a model with a network per task."""
    necks = [name for name in weights if name.startswith('neck.')]
    if necks:
        raise ValueError(
            f'{where}: has a neck ({necks[0]}, ...), which a model with a network per task cannot '
            'take over. Train the single-task models without one.'
        )
    together = f'backbone.networks.{key}.'
    source = together if any(name.startswith(together) for name in weights) else 'backbone.'
    if source == 'backbone.' and any(name.startswith('backbone.networks.') for name in weights):
        raise ValueError(
            f"{where}: holds a network per task, but none for '{key}'. Give a checkpoint of it."
        )
    renames = {source: together} | {f'heads.{name}.': f'heads.{key}.' for name in names}
    return {
        target + name.removeprefix(prefix): value
        for name, value in weights.items()
        for prefix, target in renames.items()
        if name.startswith(prefix)
    }


def _compare(own: Mapping[str, Tensor], found: Mapping[str, Tensor], where: str) -> LoadReport:
    report = compare_state_dicts(own, found)
    if report.missing or report.mismatched or report.unexpected:
        raise ValueError(
            f'{where}: {report.counts()} ({report.names()}). Train the single-task model with the '
            'backbone and head of this config.'
        )
    return report
