"""Single-task results that multi-task networks are held against, as YAML files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mmdense.utils import DataError, suggest
from mmdense.utils.files import atomic_write_text

from .setting import Backbone, Setting


@dataclass(frozen=True)
class ReferenceValue:
    """One number of a reference.

    Args:
        value (float): In the unit of results files: fractions for what is printed in percent.
        higher_is_better (bool): Direction.
        protocol (str): As :attr:`DenseMetric.protocol <mmdense.evaluation.DenseMetric>` prints it.
        std (float | None): Standard deviation over seeds (n - 1), if known.
    """

    value: float
    higher_is_better: bool
    protocol: str
    std: float | None = None


@dataclass(frozen=True)
class Reference:
    """Single-task numbers with everything that decides whether they may be compared.

    Args:
        name (str): What tables call it.
        source (str): Paper with table and row, or the runs it was made from.
        metrics (Mapping[str, ReferenceValue]): ``<task>/<metric>`` to number.
        setting (Setting): Data, backbone and schedule.
        profile (str | None): Evaluation profile that the protocols belong to.
        headlines (Mapping[str, str]): Task to the metric that Delta_m uses, where the source
            uses another than the task's own.
        seeds (int | tuple[int, ...] | None): Seeds, or how many there were.
        parameters (float | None): Of all its networks together.
        note (str): What a reader should know.
        path (str): File it was read from.
    """

    name: str
    source: str
    metrics: Mapping[str, ReferenceValue]
    setting: Setting = field(default_factory=Setting)
    profile: str | None = None
    headlines: Mapping[str, str] = field(default_factory=dict)
    seeds: int | tuple[int, ...] | None = None
    parameters: float | None = None
    note: str = ''
    path: str = ''

    @property
    def tasks(self) -> tuple[str, ...]:
        """Prefixes of the metrics, in order."""
        return tuple(dict.fromkeys(name.partition('/')[0] for name in self.metrics))

    def of_task(self, task: str) -> list[str]:
        """Names of the metrics of a task."""
        return [name for name in self.metrics if name.partition('/')[0] == task]


def load_reference(path: str | Path) -> Reference:
    """Read a reference file.

    Args:
        path (str | Path): YAML file, such as those of ``configs/_base_/references``.

    Raises:
        DataError: If it is missing, no YAML, or lacks a key; the text names the key.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        known = sorted(file.name for file in path.parent.glob('*.yaml'))
        hint = suggest(path.name, known) if known else ''
        raise DataError(f'{path}: there is no such reference file. {hint}'.rstrip()) from error
    except yaml.YAMLError as error:
        raise DataError(f'{path}: is no YAML file ({error}).') from error
    if not isinstance(content, dict):
        raise DataError(f'{path}: holds {type(content).__name__}, expected keys and values.')
    return parse_reference(content, str(path))


def parse_reference(content: Mapping[str, Any], path: str = '') -> Reference:
    """A reference from the content of its file; see :func:`load_reference`."""
    where = path or 'reference'
    metrics = {
        name: _parse_value(entry, f'{where}: metrics[{name}]')
        for name, entry in _need(content, 'metrics', where).items()
    }
    if not metrics:
        raise DataError(f'{where}: `metrics` is empty; give at least one single-task number.')
    data, schedule = content.get('data') or {}, content.get('schedule') or {}
    headlines = dict(content.get('headlines') or {})
    for task, name in headlines.items():
        if name not in metrics:
            raise DataError(f'{where}: headlines[{task}] is {name!r}. {suggest(name, metrics)}')
    seeds = content.get('seeds')
    return Reference(
        name=str(_need(content, 'name', where)),
        source=str(_need(content, 'source', where)),
        metrics=metrics,
        setting=Setting(
            data=data.get('name'),
            dataset=data.get('dataset'),
            split=data.get('split'),
            pictures=data.get('pictures'),
            resolution=content.get('resolution'),
            backbone=Backbone.read(_need(content, 'backbone', where)),
            iterations=schedule.get('iterations'),
            batch_size=schedule.get('batch_size'),
        ),
        profile=content.get('profile'),
        headlines=headlines,
        seeds=tuple(seeds) if isinstance(seeds, list) else seeds,
        parameters=content.get('parameters'),
        note=str(content.get('note', '')).strip(),
        path=path,
    )


def _need(content: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in content:
        raise DataError(
            f'{where}: `{key}` is missing. A reference states name, source, backbone and metrics, '
            'and as far as known data, resolution, profile, schedule and seeds.'
        )
    return content[key]


def _parse_value(entry: Mapping[str, Any], where: str) -> ReferenceValue:
    value = _need(entry, 'value', where)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (number and math.isfinite(value) and value > 0):
        raise DataError(
            f'{where}.value is {value!r}; a relative gain needs a finite number above 0.'
        )
    higher = _need(entry, 'higher_is_better', where)
    if not isinstance(higher, bool):
        raise DataError(f'{where}.higher_is_better is {higher!r}, expected true or false.')
    return ReferenceValue(
        float(value), higher, str(_need(entry, 'protocol', where)), entry.get('std')
    )


def save_reference(reference: Reference, path: str | Path) -> None:
    """Write a reference so that :func:`load_reference` reads the same; atomic."""
    setting = reference.setting
    seeds = reference.seeds
    content = dict(
        name=reference.name,
        source=reference.source,
        profile=reference.profile,
        data=dict(
            name=setting.data,
            dataset=setting.dataset,
            split=setting.split,
            pictures=setting.pictures,
        ),
        resolution=setting.resolution,
        backbone=vars(setting.backbone),
        schedule=dict(iterations=setting.iterations, batch_size=setting.batch_size),
        seeds=list(seeds) if isinstance(seeds, tuple) else seeds,
        parameters=reference.parameters,
        headlines=dict(reference.headlines) or None,
        note=reference.note or None,
        metrics={name: _without_none(vars(value)) for name, value in reference.metrics.items()},
    )
    text = yaml.safe_dump(_without_none(content), sort_keys=False, width=100, allow_unicode=True)
    atomic_write_text(path, text)


def _without_none(value: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that say something, nested ones too."""
    kept = {key: _without_none(v) if isinstance(v, dict) else v for key, v in value.items()}
    return {key: v for key, v in kept.items() if v is not None and v != {}}
