"""What methods cost, side by side: parameters, operations, time and memory of several configs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdense.engine.launch import load_config
from mmdense.utils import DataError
from mmdense.utils.config_check import require_valid_config
from mmdense.utils.files import atomic_write_text

from .benchmark import Settings, measure_step
from .complexity import measure_complexity
from .model_parts import input_size

#: Lines of a page between which its table stands.
MARKERS = ('<!-- methods: begin -->', '<!-- methods: end -->')


@dataclass(frozen=True)
class MethodCost:
    """One row.

    Args:
        name (str): What the table calls it.
        configs (tuple[str, ...]): Files; several are networks that work side by side, whose
            numbers add up, as single-task networks do.
        tasks (int): Number of tasks that are predicted.
        parameters (int): Number of parameters.
        macs (int): Multiply-accumulate operations of one picture.
        train_ms (float): Median time of a training step; NaN if not measured.
        inference_ms (float): Median time of a forward pass; NaN if not measured.
        train_mib (float): Peak memory of a training step; NaN if not measured. Of several
            networks the largest: they are trained one after another.
    """

    name: str
    configs: tuple[str, ...]
    tasks: int
    parameters: int
    macs: int
    train_ms: float = math.nan
    inference_ms: float = math.nan
    train_mib: float = math.nan


def parse_method(text: str) -> tuple[str, tuple[str, ...]]:
    """Name and files of one argument: ``config.py``, ``name=config.py`` or ``name=a.py+b.py``.

    Example:
        >>> parse_method('stl=x_depth.py+x_normal.py')
        ('stl', ('x_depth.py', 'x_normal.py'))
        >>> parse_method('configs/ctal/ctal-ss_r18.py')
        ('ctal-ss_r18', ('configs/ctal/ctal-ss_r18.py',))
    """
    name, _, files = text.rpartition('=')
    configs = tuple(files.split('+'))
    return name or Path(configs[0]).stem, configs


def measure_method(
    text: str,
    settings: Settings,
    shape: tuple[int, int] | None = None,
    timed: bool = True,
    options: Mapping[str, Any] | None = None,
) -> MethodCost:
    """Measure the configs of one argument and add them up.

    Args:
        text (str): As in :func:`parse_method`.
        settings (Settings): Device, batch, steps; ``shape`` and ``train`` are set here.
        shape (tuple[int, int] | None): Input size. None: that of each config.
        timed (bool): Whether to measure times, and with ``settings.memory`` memory.
        options (Mapping | None): Changes of every config, as ``--cfg-options`` takes them.
    """
    name, files = parse_method(text)
    parts = []
    for file in files:
        cfg = load_config(file, dict(options or {}))
        require_valid_config(cfg, file)
        parts.append(_measure(cfg, settings, shape or input_size(cfg), timed))
    peaks = [part.train_mib for part in parts]
    return MethodCost(
        name=name,
        configs=files,
        tasks=sum(part.tasks for part in parts),
        parameters=sum(part.parameters for part in parts),
        macs=sum(part.macs for part in parts),
        train_ms=sum(part.train_ms for part in parts),
        inference_ms=sum(part.inference_ms for part in parts),
        train_mib=math.nan if any(math.isnan(peak) for peak in peaks) else max(peaks),
    )


def _measure(cfg: Config, settings: Settings, shape: tuple[int, int], timed: bool) -> MethodCost:
    total = measure_complexity(cfg, shape)[-1]
    cost = MethodCost('', (), len(cfg.tasks), total.parameters, total.macs)
    if not timed:
        return cost
    settings = replace(settings, shape=shape)
    train = measure_step(cfg, replace(settings, train=True))
    inference = measure_step(cfg, replace(settings, train=False, memory=False))
    return replace(
        cost,
        train_ms=_number(train.milliseconds),
        inference_ms=_number(inference.milliseconds),
        train_mib=_number(train.peak_mib),
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def markdown(rows: Sequence[MethodCost], base: Path | None = None) -> str:
    """The rows as a table; columns that were not measured are left out.

    Args:
        rows (Sequence[MethodCost]): The rows.
        base (Path | None): Folder of the page, for links to the configs; None: no links.
    """
    columns = {
        'train step, ms': 'train_ms',
        'inference, ms': 'inference_ms',
        'peak of training, MiB': 'train_mib',
    }
    shown = {
        title: key
        for title, key in columns.items()
        if not all(math.isnan(getattr(row, key)) for row in rows)
    }
    head = ['Method', 'Tasks', 'Parameters', 'GMACs', *shown]
    lines = [head, ['--', *['--:'] * (len(head) - 1)]]
    for row in rows:
        values = [getattr(row, key) for key in shown.values()]
        lines.append(
            [
                _name(row, base),
                str(row.tasks),
                f'{row.parameters:,}',
                f'{row.macs / 1e9:.2f}',
                *('-' if math.isnan(value) else f'{value:,.0f}' for value in values),
            ]
        )
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)


def _name(row: MethodCost, base: Path | None) -> str:
    if base is None:
        return row.name
    links = [Path(config).resolve().relative_to(base.resolve()) for config in row.configs]
    if len(links) == 1:
        return f'[{row.name}](./{links[0].as_posix()})'
    numbered = ' '.join(f'[{i}](./{link.as_posix()})' for i, link in enumerate(links, 1))
    return f'{row.name} {numbered}'


def write_between_markers(path: Path, table: str, markers: tuple[str, str] = MARKERS) -> None:
    """Put a table into a page, in the place of the one that stands between two marks.

    Raises:
        DataError: If the page is missing or does not have both markers once and in order.
    """
    begin, end = markers
    if not path.is_file():
        raise DataError(f'{path}: there is no such page. It needs the lines {begin} and {end}.')
    text = path.read_text()
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise DataError(
            f'{path}: has no one place for the table. Put the lines {begin} and {end} there, once '
            'and in this order.'
        )
    before, after = text.split(begin)[0], text.split(end)[1]
    atomic_write_text(path, f'{before}{begin}\n{table}\n{end}{after}')
