"""Results files of runs: found, grouped by what was run, and checked before they share a table."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mmdense.evaluation import Reference, ReferenceValue, Setting
from mmdense.evaluation.setting import Mismatch, SettingMismatch, compare_settings
from mmdense.utils import DataError

_FILES = dict(test='results_test.json', val='results_val.json')


@dataclass(frozen=True)
class Stat:
    """Mean and standard deviation (n - 1) of one number over runs.

    Example:
        >>> print(Stat.of([1.0, 2.0, 3.0]))
        2.0000 +- 1.0000
    """

    mean: float
    std: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> Stat:
        """From the numbers of the runs; the deviation of a single one is NaN."""
        found = np.asarray(list(values), np.float64)
        if not found.size:
            return cls(math.nan, math.nan, ())
        std = float(found.std(ddof=1)) if found.size > 1 else math.nan
        return cls(float(found.mean()), std, tuple(found.tolist()))

    def text(self, scale: float = 1.0, digits: int = 4, sign: str = '') -> str:
        """``mean +- std``, or ``-`` where there is no number."""
        if math.isnan(self.mean):
            return '-'
        mean = f'{scale * self.mean:{sign}.{digits}f}'
        return mean if math.isnan(self.std) else f'{mean} +- {scale * self.std:.{digits}f}'

    def __str__(self) -> str:
        return self.text()


@dataclass(frozen=True)
class Run:
    """One results file.

    Args:
        path (Path): The file.
        report (dict): Its content; NaN where it holds null.
    """

    path: Path
    report: dict[str, Any]

    @property
    def facts(self) -> dict[str, Any]:
        """The ``run`` block; empty in files that were written without it."""
        return self.report.get('run') or {}

    @property
    def name(self) -> str:
        """Config, or the folder without its seed."""
        return self.facts.get('config') or re.sub(r'[_-]?seed[_-]?\d+$', '', self.path.parent.name)

    @property
    def seed(self) -> int | None:
        return self.facts.get('seed')

    @cached_property
    def setting(self) -> Setting:
        return Setting.read(self.report)

    @property
    def iteration(self) -> int | None:
        """Iterations behind the weights, None if not recorded."""
        done = (self.facts.get('schedule') or {}).get('done')
        if done is None and self.path.name == _FILES['val']:
            done = self.report.get('iteration')
        return done

    @property
    def headlines(self) -> dict[str, str]:
        """Task to the name of its headline."""
        return dict(self.report['headlines'])

    def value(self, name: str) -> float:
        """A number, NaN if the run has none of that name."""
        return float(self.report['details'].get(name, {}).get('value', math.nan))

    @property
    def train_seconds(self) -> float:
        """Wall time of the training that these numbers come from, NaN if not recorded."""
        path = self.path.with_name(_FILES['val'])
        if path == self.path:
            return float(self.facts.get('wall_s', math.nan))
        return load_run(path).train_seconds if path.is_file() else math.nan

    @property
    def unfinished(self) -> str:
        """Says so if the numbers are from before the end of the training, else ''."""
        last, at = self.setting.iterations, self.iteration
        if not last or at is None or at >= last:
            return ''
        return f'{self.path}: numbers of iteration {at} of {last}'


@dataclass(frozen=True)
class Group:
    """Runs of one experiment that differ in their seed."""

    name: str
    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        return self.runs[0]

    @property
    def headlines(self) -> dict[str, str]:
        return self.first.headlines

    @property
    def details(self) -> dict[str, dict[str, Any]]:
        """Name to direction, unit and protocol, which all runs share."""
        return dict(self.first.report['details'])

    def stat(self, name: str) -> Stat:
        """Mean and deviation of a number."""
        return Stat.of(run.value(name) for run in self.runs if name in run.report['details'])

    @property
    def parameters(self) -> int | None:
        return self.first.facts.get('parameters')


def find_results(path: str | Path, split: str | None = None) -> Path:
    """The results file of a work directory, or the file itself.

    Args:
        path (str | Path): Work directory, or a ``.json`` of ``tools/test.py --out``.
        split (str | None): ``'val'`` or ``'test'``. None: the test results, where there are
            any, else the validation results.

    Raises:
        DataError: If there is none; the text says where there are some.
    """
    path = Path(path)
    if path.is_file():
        return path
    names = [_FILES[split]] if split else list(_FILES.values())
    for name in names:
        if (path / name).is_file():
            return path / name
    wanted = ' or '.join(names)
    if not path.is_dir():
        raise DataError(f'{path}: there is no such folder or file. Give work directories of runs.')
    below = sorted(p.parent.name for name in names for p in path.glob(f'*/{name}'))
    hint = (
        f'Runs are in its folders {", ".join(dict.fromkeys(below))}: name those.'
        if below
        else 'Train with validation, or run tools/test.py with this --work-dir, and they appear.'
    )
    raise DataError(f'{path}: holds no {wanted}. {hint}')


def load_run(path: str | Path, split: str | None = None) -> Run:
    """Read the results of a run.

    Raises:
        DataError: If the file is missing, broken, or from another evaluator.
    """
    file = find_results(path, split)
    try:
        report = json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise DataError(f'{file}: is no JSON ({error}). Evaluate the run again.') from error
    missing = [key for key in ('details', 'headlines', 'pictures') if key not in report]
    if missing:
        raise DataError(
            f'{file}: lacks {", ".join(missing)}, so nothing tells how its numbers were made. '
            'Evaluate again with MultiTaskEvaluator, whose results file holds them.'
        )
    for detail in report['details'].values():
        detail['value'] = math.nan if detail['value'] is None else detail['value']
    return Run(file, report)


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Runs of one experiment together, in the order of their first run.

    Raises:
        DataError: If two runs of an experiment have the same seed.
        SettingMismatch: If runs of an experiment were evaluated in different ways.
    """
    found: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        backbone = run.setting.backbone
        key = (run.name, run.facts.get('experiment'), backbone, run.setting.iterations)
        found.setdefault(key, []).append(run)
    names = [key[0] for key in found]
    groups = []
    for (name, *_), members in found.items():
        # Options on the command line make another experiment of the same config file.
        label = name if names.count(name) == 1 else f'{name} ({members[0].path.parent.name})'
        groups.append(_checked(Group(label, tuple(members))))
    return groups


def _checked(group: Group) -> Group:
    seen: dict[int, Run] = {}
    for run in group.runs:
        if run.seed in seen:
            raise DataError(
                f'{run.path} and {seen[run.seed].path} are both {group.name} with seed {run.seed}. '
                'Give every seed once.'
            )
        if run.seed is not None:
            seen[run.seed] = run
        found = differences(group.first, run, list(group.details))
        if run.iteration != group.first.iteration:
            at = [str(r.iteration) for r in (run, group.first)]
            found.append(Mismatch('schedule', 'iteration', *at))
        if set(run.report['details']) != set(group.details):
            names = [', '.join(r.report['details']) for r in (run, group.first)]
            found.append(Mismatch('protocol', 'metrics', *names))
        if found:
            lines = '\n'.join(f'  {m.subject}: {m.run!r} and {m.reference!r}' for m in found)
            raise SettingMismatch(
                f'{run.path} and {group.first.path} are runs of {group.name}, but their numbers '
                f'cannot be averaged:\n{lines}\nEvaluate all in one way, or report each alone.'
            )
    return group


def differences(a: Run, b: Run, names: Iterable[str]) -> list[Mismatch]:
    """Ways in which two runs were evaluated differently, backbone and schedule apart."""
    found = [
        mismatch
        for mismatch in compare_settings(b.setting, a.setting)[0]
        if mismatch.aspect in ('data', 'pictures', 'resolution')
    ]
    ours, theirs = b.report['details'], a.report['details']
    for name in names:
        if name in ours and name in theirs and ours[name]['protocol'] != theirs[name]['protocol']:
            found.append(
                Mismatch('protocol', f'protocol of {name}', ours[name]['protocol'],
                         theirs[name]['protocol'])
            )  # fmt: skip
    return found


def split_tables(groups: Sequence[Group]) -> list[list[Group]]:
    """Groups that may be compared together, each with every other of its table."""
    tables: list[list[Group]] = []
    for group in groups:
        for table in tables:
            if not any(differences(g.first, group.first, group.details) for g in table):
                table.append(group)
                break
        else:
            tables.append([group])
    return tables


def reference_from_runs(groups: Sequence[Group], name: str, source: str = '') -> Reference:
    """Single-task runs as a reference: means over seeds.

    Args:
        groups (Sequence[Group]): One per task.
        name (str): Of the reference.
        source (str): Where the numbers come from. '': the results files.

    Raises:
        DataError: If a run has several tasks, or two groups the same one.
        SettingMismatch: If data, backbone or schedule differ between tasks.
    """
    if not groups:
        raise DataError('A reference needs at least one single-task run.')
    by_task: dict[str, Group] = {}
    for group in groups:
        if len(group.headlines) != 1:
            raise DataError(
                f'{group.first.path}: was evaluated on {", ".join(group.headlines) or "no task"}; '
                'a reference is made from runs of one task each.'
            )
        (task,) = group.headlines
        if task in by_task:
            raise DataError(
                f'{group.name} and {by_task[task].name} are both single-task runs for {task}. '
                'Give one experiment per task; seeds of it are averaged.'
            )
        by_task[task] = group
    first = groups[0].first
    for group in groups[1:]:
        found, _ = compare_settings(group.first.setting, first.setting)
        if found:
            lines = '\n'.join(f'  {m.subject}: {m.run!r} and {m.reference!r}' for m in found)
            raise SettingMismatch(
                f'{group.first.path} and {first.path} cannot be in one reference:\n{lines}\n'
                'Single-task networks of a reference share data, backbone and schedule.'
            )
    seeds = sorted({run.seed for group in groups for run in group.runs if run.seed is not None})
    known = [group.parameters for group in groups if group.parameters is not None]
    files = [f'{r.path.parent.name}/{r.path.name}' for group in groups for r in group.runs]
    return Reference(
        name=name,
        source=source or f'measured: {", ".join(files)}',
        metrics={
            key: _reference_value(group, key) for group in groups for key in _numbers_of(group)
        },
        setting=first.setting,
        profile=first.report.get('profile'),
        headlines={task: group.headlines[task] for task, group in by_task.items()},
        seeds=tuple(seeds) or None,
        parameters=sum(known) if len(known) == len(groups) else None,
    )


def _numbers_of(group: Group) -> list[str]:
    """Names with a usable number, without per-class ones."""
    (task,) = group.headlines
    return [
        name
        for name in group.details
        if name.partition('/')[0] == task
        and not name.partition('/')[2].startswith('IoU.')
        and math.isfinite(group.stat(name).mean)
    ]


def _reference_value(group: Group, name: str) -> ReferenceValue:
    stat, detail = group.stat(name), group.details[name]
    return ReferenceValue(
        value=stat.mean,
        higher_is_better=detail['higher_is_better'],
        protocol=detail['protocol'],
        std=None if math.isnan(stat.std) else stat.std,
    )
