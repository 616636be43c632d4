"""Logs of runs as curves: losses, metrics, weights and gradients over iterations."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmdense.registry import TASKS
from mmdense.utils import DataError, suggest
from mmdense.visualization.curves import Line, Panel

Array = np.ndarray

_DIAGNOSTICS = 'gradient_diagnostics.json'
_RESULTS = ('results_val.json', 'results_test.json')
#: Written beside what a row measures.
_COUNTERS = ('iter', 'step', 'epoch')
_LOSS, _WEIGHT = '.loss', '.weight'
_COSINE, _CONFLICTS = 'gradients/cos_', 'gradients/conflicts'


@dataclass
class RunCurves:
    """Everything that a run logged.

    Attributes:
        name: What legends call it.
        path: Where it was read.
        training: Name to iterations and values.
        validation: Name to iterations and values.
        details: Validation name to ``higher_is_better`` and ``unit``, where the results say so.
        headlines: Names that stand for a task, in the order of the tasks.
    """

    name: str
    path: Path
    training: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    validation: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    headlines: list[str] = field(default_factory=list)

    @property
    def tasks(self) -> list[str]:
        """Tasks with a training loss."""
        return [name.removesuffix(_LOSS) for name in self.training if name.endswith(_LOSS)]


def load_curves(text: str) -> RunCurves:
    """Read ``DIR``, ``FILE.json`` or either with ``NAME=`` in front.

    Of a work directory every log is read; where a resumed or repeated run measured an iteration
    again, the later log counts. Gradients come from :class:`GradientDiagnosticsHook`'s own file
    where there is one, as the log holds them at its own intervals only.

    Raises:
        DataError: If there is no log of a training, or it is damaged.
    """
    name, _, given = text.rpartition('=')
    path = Path(given)
    logs = _find_logs(path)
    training: dict[str, dict[int, float]] = {}
    validation: dict[str, dict[int, float]] = {}
    for log in logs:
        rows = read_rows(log)
        if any('iter' in row for row in rows):
            _add_rows(rows, training, validation)
    if not training:
        raise DataError(
            f'{path}: its logs ({", ".join(p.parent.parent.name for p in logs)}) hold no training '
            'iteration. Name the work directory of a training that has got to its first log line.'
        )
    folder = path if path.is_dir() else path.parent
    _add_gradients(folder / _DIAGNOSTICS, training)
    # Without the seed, so that runs which differ in nothing else share a name.
    short = re.sub(r'[_-]?seed[_-]?\d+$', '', folder.resolve().name)
    run = RunCurves(name or short, path, _arrays(training), _arrays(validation))
    _add_results(folder, run)
    return run


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of mmengine's ``scalars.json``, an object per line.

    The last line of a run that was killed may be cut off and is left out.

    Raises:
        DataError: If another line is no JSON object.
    """
    lines = path.read_text().splitlines()
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise DataError(
                f'{path}, line {number}: is no JSON ({error}). Delete the line to go on without it.'
            ) from error
        if not isinstance(row, dict):
            raise DataError(
                f'{path}, line {number}: holds {type(row).__name__}, expected an object per line '
                'as mmengine writes it (vis_data/scalars.json).'
            )
        rows.append(row)
    return rows


def _find_logs(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    logs = sorted(path.glob('*/vis_data/scalars.json'))
    if logs:
        return logs
    if not path.is_dir():
        raise DataError(f'{path}: there is no such folder or file. Give work directories of runs.')
    below = sorted({log.parents[2].name for log in path.glob('*/*/vis_data/scalars.json')})
    hint = (
        f'Runs are in its folders {", ".join(below[:8])}: name those.'
        if below
        else "Logs are written with LocalVisBackend among the visualizer's vis_backends."
    )
    raise DataError(f'{path}: holds no <time>/vis_data/scalars.json. {hint}')


def _add_rows(
    rows: Sequence[Mapping[str, Any]],
    training: dict[str, dict[int, float]],
    validation: dict[str, dict[int, float]],
) -> None:
    first = min(int(row['step']) for row in rows if 'iter' in row)
    for series in (training, validation):
        for points in series.values():
            for step in [step for step in points if step >= first]:
                del points[step]
    last = 0
    for row in rows:
        target = training if 'iter' in row else validation
        step = int(row['step'])
        if target is training:
            last = step
        # Logs by epoch number validations by epochs.
        step = max(step, last)
        for name, value in row.items():
            if name not in _COUNTERS and isinstance(value, int | float):
                target.setdefault(name, {})[step] = float(value)


def _add_gradients(path: Path, training: dict[str, dict[int, float]]) -> None:
    if not path.is_file():
        return
    for name in [name for name in training if name.startswith('gradients/')]:
        del training[name]
    for row in read_rows(path):
        for name, value in row.items():
            if name != 'iter':
                training.setdefault(f'gradients/{name}', {})[int(row['iter'])] = float(value)


def _arrays(series: Mapping[str, Mapping[int, float]]) -> dict[str, tuple[Array, Array]]:
    found = {}
    for name, points in series.items():
        if points:
            steps = sorted(points)
            found[name] = np.asarray(steps), np.asarray([points[step] for step in steps])
    return found


def _add_results(folder: Path, run: RunCurves) -> None:
    """Headlines and units from the results files, else headlines as the tasks have them."""
    for name in _RESULTS:
        if (folder / name).is_file():
            report = json.loads((folder / name).read_text())
            run.details = dict(report.get('details', {}))
            run.headlines = [h for h in report.get('headlines', {}).values() if h in run.validation]
            return
    TASKS.import_from_location()
    headlines = {task.key: task.headline for task in TASKS.module_dict.values()}
    candidates = [f'{key}/{headlines[key]}' for key in run.tasks if key in headlines]
    run.headlines = [name for name in candidates if name in run.validation]


# -- panels -------------------------------------------------------------------


def make_panels(
    runs: Sequence[RunCurves], metrics: Sequence[str] = (), keys: Sequence[str] = ()
) -> list[Panel]:
    """What is drawn of the runs; those with one name are drawn as mean and range.

    A row per task: its training loss, and what stands for it in validation. Then, where logged:
    the total loss, the learning rate, the weights of the tasks, the share of pairs of tasks whose
    gradients are in conflict, and the cosine of each pair.

    Args:
        runs (Sequence[RunCurves]): As :func:`load_curves` gives them.
        metrics (Sequence[str]): Validation names to draw in place of the headlines.
        keys (Sequence[str]): Regular expressions; a panel more for each name that one matches.

    Raises:
        DataError: If a metric or an expression fits nothing that was logged.
    """
    known = _names(runs, 'validation')
    for name in metrics:
        if name not in known:
            raise DataError(f'--metrics {name}: was not logged. {suggest(name, known)}')
    wanted = list(metrics) or list(dict.fromkeys(h for run in runs for h in run.headlines))
    panels = []
    tasks = list(dict.fromkeys(task for run in runs for task in run.tasks))
    for task in tasks:
        panels.append(_panel(f'{task}: training loss', runs, {task + _LOSS: ''}))
        of_task = [name for name in wanted if _belongs(name, task, tasks)]
        panels += [_metric_panel(runs, name) for name in of_task]
        wanted = [name for name in wanted if name not in of_task]
        if len(of_task) % 2 == 0:
            panels.append(Panel(''))
    panels += [_metric_panel(runs, name) for name in wanted]
    panels += _shared_panels(runs, tasks)
    for pattern in keys:
        names = [name for name in [*_names(runs, 'training'), *known] if re.search(pattern, name)]
        if not names:
            logged = ', '.join(sorted([*_names(runs, 'training'), *known]))
            raise DataError(f'--keys {pattern}: fits none of what was logged: {logged}.')
        panels += [_panel(name, runs, {name: ''}) for name in names]
    return panels


def _shared_panels(runs: Sequence[RunCurves], tasks: Sequence[str]) -> list[Panel]:
    names = _names(runs, 'training')
    panels = [_panel('training loss, all tasks', runs, {'loss': ''})]
    panels.append(_panel('learning rate', runs, {'lr': ''}))
    weights = {task + _WEIGHT: task for task in tasks if task + _WEIGHT in names}
    if weights:
        panels.append(_panel('weights of the tasks', runs, weights))
    if _CONFLICTS in names:
        title = 'pairs of tasks with gradients in conflict'
        panel = _panel(title, runs, {_CONFLICTS: ''}, smooth=True)
        panels.append(panel._replace(ylabel='share of pairs', limits=(-0.05, 1.05)))
        pairs = {n: n.removeprefix(_COSINE).replace('_', ' - ') for n in names if _COSINE in n}
        panel = _panel('angle between gradients of two tasks', runs, pairs, smooth=True)
        panels.append(panel._replace(ylabel='cosine', limits=(-1.05, 1.05), zero=True))
    return [panel for panel in panels if panel.lines]


def _metric_panel(runs: Sequence[RunCurves], name: str) -> Panel:
    detail = next((run.details[name] for run in runs if name in run.details), {})
    arrow = {True: ' (higher is better)', False: ' (lower is better)', None: ''}[
        detail.get('higher_is_better')
    ]
    panel = _panel(f'{name}{arrow}', runs, {name: ''}, markers=True)
    return panel._replace(ylabel=detail.get('unit') or '')


def _panel(
    title: str,
    runs: Sequence[RunCurves],
    names: Mapping[str, str],
    smooth: bool = False,
    markers: bool = False,
) -> Panel:
    """Lines of some names: one colour per run, or per name where there are several."""
    lines = []
    labels = list(dict.fromkeys(run.name for run in runs))
    for series, (name, label) in enumerate(names.items()):
        for place, run_name in enumerate(labels):
            curves = [
                {**run.training, **run.validation}[name]
                for run in runs
                if run.name == run_name and name in {**run.training, **run.validation}
            ]
            if not curves:
                continue
            several = len(names) > 1
            shown = label if several and len(labels) == 1 else f'{label} {run_name}'.strip()
            color, style = (series, place) if several else (place, 0)
            if len(curves) > 1:
                shown += f' ({len(curves)} runs)'
            lines.append(Line(shown, *_join(curves), color, style, smooth, markers))
    return Panel(title, tuple(lines))


def _join(curves: Sequence[tuple[Array, Array]]) -> tuple[Array, Array, Array, Array]:
    """Iterations that all runs logged, and mean, least and largest value there."""
    steps = curves[0][0]
    for other, _ in curves[1:]:
        steps = np.intersect1d(steps, other)
    values = np.stack([v[np.searchsorted(s, steps)] for s, v in curves])
    return steps, values.mean(0), values.min(0), values.max(0)


def _belongs(name: str, task: str, tasks: Sequence[str]) -> bool:
    """Whether a result is one of a task; prefixes may say more than the key of the task."""
    prefix = name.split('/')[0]
    fits = [key for key in tasks if prefix == key or prefix.startswith(f'{key}_')]
    return bool(fits) and max(fits, key=len) == task


def _names(runs: Sequence[RunCurves], kind: str) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in getattr(run, kind)))
