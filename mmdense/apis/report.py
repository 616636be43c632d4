"""Tables over runs and seeds, with Delta_m: what ``tools/analysis_tools/report.py`` does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdense.evaluation import DeltaM, Reference, load_reference
from mmdense.utils import DataError

from .report_runs import Group, Stat, group_runs, load_run, reference_from_runs, split_tables
from .report_tables import Report, Row, Table


def make_report(
    runs: Sequence[str | Path],
    *,
    reference: str | Path | None = None,
    stl: Sequence[str | Path] = (),
    metrics: str | Mapping[str, str] = 'headline',
    allow: Sequence[str] = (),
    every_metric: bool = False,
    flops: bool = False,
    split: str | None = None,
) -> Report:
    """Tables over runs and seeds.

    Args:
        runs (Sequence[str | Path]): Work directories or results files. Runs of one config that
            differ in their seed become one row with mean and standard deviation.
        reference (str | Path | None): YAML file of single-task numbers, for Delta_m.
        stl (Sequence[str | Path]): Single-task runs to use as the reference instead.
        metrics (str | Mapping): As in :class:`~mmdense.evaluation.DeltaM`.
        allow (Sequence[str]): As in :class:`~mmdense.evaluation.DeltaM`.
        every_metric (bool): Columns for every metric, not only headlines.
        flops (bool): Measure multiply-accumulate operations from the config in each folder.
        split (str | None): ``'val'`` or ``'test'``. None: the test results, where there are
            any.

    Raises:
        DataError: If results are missing or broken, a seed is given twice, or both
            ``reference`` and ``stl`` are given.
        SettingMismatch: If runs of one row, or a row and the reference, were made in
            different ways. Rows that differ among themselves go into tables of their own.
        ValueError: If the reference lacks a task.
    """
    if not runs:
        raise DataError('There are no runs to report on; give work directories.')
    if reference is not None and stl:
        raise DataError('Both a reference file and single-task runs are given; give one of them.')
    groups = group_runs([load_run(path, split) for path in runs])
    stl_groups = group_runs([load_run(path, split) for path in stl])
    base: Reference | None = None
    if reference is not None:
        base = load_reference(reference)
    elif stl:
        base = reference_from_runs(stl_groups, 'single-task networks')
    against = DeltaM(base, metrics, allow) if base else None
    tables = [
        _make_table(table, against, stl_groups, every_metric, flops)
        for table in split_tables(groups)
    ]
    return Report(tuple(tables))


def _make_table(
    groups: Sequence[Group],
    against: DeltaM | None,
    stl: Sequence[Group],
    every_metric: bool,
    flops: bool,
) -> Table:
    notes: dict[str, None] = {}
    unchecked: dict[tuple[str, ...], list[str]] = {}
    details: dict[str, Mapping[str, Any]] = {}
    columns: dict[str, None] = {}
    for group in groups:
        details = {**group.details, **details}
        columns.update(dict.fromkeys(group.details if every_metric else group.headlines.values()))
        notes.update(dict.fromkeys(run.unfinished for run in group.runs if run.unfinished))
    rows = []
    for group in groups:
        scores = [against.score(run.report) for run in group.runs] if against else []
        notes.update(dict.fromkeys(_notes_of(group, scores, against)))
        for score in scores[:1]:
            unchecked.setdefault(tuple(score['unchecked']), []).append(group.name)
        columns.update(dict.fromkeys(name for score in scores for name in score['metrics']))
        rows.append(_row_of(group, _gains_of(scores), flops))
    for aspects, names in unchecked.items():
        if aspects:
            notes[
                f'not compared with the reference, because one side does not state it: '
                f'{", ".join(aspects)} (of {", ".join(names)})'
            ] = None
    if against is not None:
        rows.insert(0, _reference_row(against.reference, stl))
    return Table(
        title=_title(groups[0]),
        columns=tuple(columns),
        details=details,
        rows=tuple(rows),
        notes=tuple(notes),
        reference=against.reference.name if against else '',
    )


def _title(group: Group) -> str:
    setting, report = group.first.setting, group.first.report
    parts = [
        ' '.join(filter(None, (setting.dataset or setting.data, setting.split))),
        f'{setting.pictures} pictures',
        setting.resolution,
        report.get('profile') and f'profile {report["profile"]}',
    ]
    return ', '.join(part for part in parts if part)


def _row_of(group: Group, gains: dict[str, Stat], flops: bool) -> Row:
    backbone = group.first.setting.backbone
    return Row(
        name=group.name,
        backbone=backbone.name or backbone.description or '-',
        seeds=len(group.runs),
        stats={name: group.stat(name) for name in group.details},
        gains=gains,
        parameters=math.nan if group.parameters is None else group.parameters,
        macs=_measure_macs(group) if flops else math.nan,
        seconds=Stat.of(s for run in group.runs if not math.isnan(s := run.train_seconds)),
    )


def _reference_row(reference: Reference, stl: Sequence[Group]) -> Row:
    backbone = reference.setting.backbone
    stats = {name: _reference_stat(value) for name, value in reference.metrics.items()}
    for group in stl:
        stats.update({name: group.stat(name) for name in group.details})
    seeds = reference.seeds
    return Row(
        name=reference.name,
        backbone=backbone.name or backbone.description or '-',
        seeds=len(seeds) if isinstance(seeds, tuple) else seeds or 0,
        stats=stats,
        # One network per task: what a user of single-task networks would keep.
        parameters=math.nan if reference.parameters is None else reference.parameters,
    )


def _reference_stat(value: Any) -> Stat:
    return Stat(value.value, math.nan if value.std is None else value.std, (value.value,))


def _gains_of(scores: Sequence[Mapping[str, Any]]) -> dict[str, Stat]:
    if not scores:
        return {}
    gains = {task: Stat.of(s['gains'][task] for s in scores) for task in scores[0]['gains']}
    return {**gains, 'mean': Stat.of(score['delta_m'] for score in scores)}


def _notes_of(
    group: Group, scores: Sequence[Mapping[str, Any]], against: DeltaM | None
) -> list[str]:
    if against is None:
        return []
    notes = [f'Delta_m against {against.reference.name} ({against.reference.source})']
    if against.reference.note:
        notes.append(against.reference.note)
    missing = len(against.reference.tasks) - len(group.headlines)
    if missing > 0:
        notes.append(
            f'Delta_m of {group.name} is over its {len(group.headlines)} tasks; the reference has '
            f'{len(against.reference.tasks)}'
        )
    for score in scores:
        for override in score['overrides']:
            notes.append(
                f'{group.name} differs from the reference in {override["subject"]}: run '
                f"'{override['run']}', reference '{override['reference']}' (allowed)"
            )
    return notes


def _measure_macs(group: Group) -> float:
    """MACs of one picture, from the config that training left in the work directory."""
    from .complexity import measure_complexity
    from .model_parts import input_size

    folder = group.first.path.parent
    files = sorted(folder.glob('*.py'))
    if len(files) != 1:
        raise DataError(
            f'{folder}: --flops needs the one config that training leaves there, found '
            f'{", ".join(file.name for file in files) or "none"}. Leave --flops out.'
        )
    cfg = Config.fromfile(str(files[0]))
    return float(measure_complexity(cfg, input_size(cfg))[-1].macs)
