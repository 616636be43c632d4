"""Tables of a report: what they hold, and how they are written."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from terminaltables import AsciiTable

from mmdense.utils.files import atomic_write_bytes, atomic_write_text

from .report_runs import Stat


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Args:
        name (str): Config, or name of the reference.
        backbone (str): Short name or description.
        seeds (int): Number of runs; 0 for a published reference.
        stats (dict[str, Stat]): Name to mean and deviation.
        gains (dict[str, Stat]): Task to gain in percent, and ``mean`` for Delta_m.
        parameters (float): Number of parameters; NaN if unknown.
        macs (float): Multiply-accumulate operations of one picture; NaN if not measured.
        seconds (Stat): Wall time of training.
    """

    name: str
    backbone: str
    seeds: int
    stats: dict[str, Stat]
    gains: dict[str, Stat] = field(default_factory=dict)
    parameters: float = math.nan
    macs: float = math.nan
    seconds: Stat = field(default_factory=lambda: Stat.of(()))


@dataclass(frozen=True)
class Table:
    """Rows whose numbers were made in the same way.

    Args:
        title (str): Data, pictures, resolution and profile.
        columns (tuple[str, ...]): Names of metrics.
        details (dict): Name to direction, unit, percent and protocol.
        rows (tuple[Row, ...]): One per experiment; the reference comes first.
        notes (tuple[str, ...]): What a reader should know.
        reference (str): Name of the reference of Delta_m; '' without one.
    """

    title: str
    columns: tuple[str, ...]
    details: Mapping[str, Mapping[str, Any]]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    reference: str = ''

    def heading(self, name: str) -> str:
        """Task, metric, unit and direction of a column."""
        detail = self.details[name]
        unit = '%' if detail.get('percent') else detail.get('unit', '')
        arrow = '↑' if detail['higher_is_better'] else '↓'
        return f'{name.replace("/", " ")}{f" [{unit}]" if unit else ""} {arrow}'

    def cell(self, name: str, row: Row) -> str:
        """A number as people read it."""
        if name not in row.stats:
            return '-'
        detail = self.details[name]
        if detail.get('percent'):
            return row.stats[name].text(100, 2)
        return row.stats[name].text(1, 2 if detail.get('unit') == 'deg' else 4)

    def lines(self) -> list[list[str]]:
        """Heading and rows."""
        gains = any(row.gains for row in self.rows)
        macs = any(not math.isnan(row.macs) for row in self.rows)
        head = ['model', 'backbone', 'seeds', *map(self.heading, self.columns)]
        head += ['Delta_m [%] ↑'] * gains + ['params [M]'] + ['GMACs'] * macs + ['train [min]']
        lines = [head]
        for row in self.rows:
            mean = row.gains.get('mean')
            lines.append(
                [
                    row.name, row.backbone, str(row.seeds or '-'),
                    *(self.cell(name, row) for name in self.columns),
                    *([mean.text(1, 2, '+') if mean else '-'] if gains else []),
                    _or_dash(row.parameters / 1e6, 2),
                    *([_or_dash(row.macs / 1e9, 2)] if macs else []),
                    row.seconds.text(1 / 60, 1),
                ]
            )  # fmt: skip
        return lines

    def gain_lines(self) -> list[list[str]]:
        """Gains of single tasks, [] without a reference."""
        tasks = list(dict.fromkeys(task for row in self.rows for task in row.gains))
        if not tasks:
            return []
        tasks = [task for task in tasks if task != 'mean'] + ['mean']
        lines = [['gain in %', *tasks]]
        for row in self.rows:
            if row.gains:
                found = [row.gains.get(task) for task in tasks]
                lines.append([row.name, *(s.text(1, 2, '+') if s else '-' for s in found)])
        return lines

    def protocols(self) -> list[str]:
        """One line per column."""
        return [f'{name}: {self.details[name]["protocol"]}' for name in self.columns]


def _or_dash(value: float, digits: int) -> str:
    return '-' if math.isnan(value) else f'{value:.{digits}f}'


@dataclass(frozen=True)
class Report:
    """Tables; more than one where protocols or data differ."""

    tables: tuple[Table, ...]

    def text(self) -> str:
        """For terminals."""
        parts = []
        for table in self.tables:
            parts.append(AsciiTable(table.lines(), f' {table.title} ').table)
            if table.gain_lines():
                parts.append(AsciiTable(table.gain_lines(), f' against {table.reference} ').table)
            parts += [*table.protocols(), *(f'Note: {note}' for note in table.notes), '']
        return '\n'.join([*self._apart(), *parts]).rstrip()

    def markdown(self, picture: str = '') -> str:
        """For documents; ``picture`` is a pattern such as ``'report{}.png'`` to link."""
        parts = ['# Results', '', *self._apart()]
        for number, table in enumerate(self.tables, 1):
            parts += [f'## {table.title}', '', *_markdown_table(table.lines()), '']
            if table.gain_lines():
                parts += [f'Against {table.reference}:', '', *_markdown_table(table.gain_lines())]
                parts.append('')
            parts += [*(f'- {line}' for line in table.protocols()), '']
            parts += [f'Note: {note}\n' for note in table.notes]
            if picture:
                parts += [f'![{table.title}]({picture.format(number if number > 1 else "")})', '']
        parts.append('Mean +- standard deviation (n - 1) over seeds.')
        return '\n'.join(parts) + '\n'

    def csv(self) -> str:
        """One line per table, model and number, in the units of results files."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator='\n')
        writer.writerow(
            [
                'table',
                'model',
                'backbone',
                'name',
                'mean',
                'std',
                'n',
                'values',
                'higher_is_better',
                'protocol',
            ]
        )
        for number, table in enumerate(self.tables, 1):
            for row in table.rows:
                gains = {
                    'delta_m' if task == 'mean' else f'delta_m/{task}': stat
                    for task, stat in row.gains.items()
                }
                for name, stat in {**row.stats, **gains}.items():
                    detail = table.details.get(name, {})
                    writer.writerow(
                        [number, row.name, row.backbone, name, stat.mean, stat.std,
                         len(stat.values), ' '.join(map(repr, stat.values)),
                         detail.get('higher_is_better', True),
                         detail.get('protocol', f'against {table.reference}')]
                    )  # fmt: skip
        return out.getvalue()

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``report.md``, ``report.csv`` and one picture per table.

        Raises:
            MissingDependencyError: If matplotlib does not load.
        """
        from .report_picture import draw_table

        folder = Path(folder)
        paths = [folder / 'report.md', folder / 'report.csv']
        for number, table in enumerate(self.tables, 1):
            path = folder / f'report{number if number > 1 else ""}.png'
            atomic_write_bytes(path, draw_table(table))
            paths.append(path)
        atomic_write_text(paths[0], self.markdown('report{}.png'))
        atomic_write_text(paths[1], self.csv())
        return paths

    def _apart(self) -> list[str]:
        if len(self.tables) == 1:
            return []
        return [f'{len(self.tables)} tables: their numbers were made in different ways.', '']


def _markdown_table(lines: Sequence[Sequence[str]]) -> list[str]:
    rows = ['| ' + ' | '.join(cell.replace('|', '\\|') for cell in line) + ' |' for line in lines]
    return [rows[0], '|' + '--|' * len(lines[0]), *rows[1:]]
