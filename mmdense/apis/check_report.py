"""The report of a data check as tables and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from terminaltables import AsciiTable

from mmdense.datasets.mirrors import Mirror
from mmdense.utils import require

from .check_dataset import DatasetReport

_MOST = 20


def report_text(report: DatasetReport) -> str:
    """What a check found, for a terminal."""
    where = f" in '{report.data_root}'" if report.data_root else ''
    sizes = ', '.join(f'{size} ({count})' for size, count in report.sizes.most_common(4))
    more = f' and {len(report.sizes) - 4} other sizes' if len(report.sizes) > 4 else ''
    lines = [f'{report.name}{where}: {report.pictures} pictures, {report.read} read; {sizes}{more}']
    if report.checksum:
        lines.append(f'data checksum: {report.checksum}')
    rows = [['task', 'pictures', 'known', 'values']]
    for key, statistics in report.statistics.items():
        known = f'{100 * statistics.as_dict()["known_share"]:.1f} %'
        values = '\n'.join(statistics.lines()) if report.present[key] else '-'
        rows.append([key, str(report.present[key]), known, values])
    lines.append(AsciiTable(rows).table)
    problems = report.all_problems()
    if not problems:
        return '\n'.join([*lines, 'Nothing wrong was found.'])
    lines.append('1 problem:' if len(problems) == 1 else f'{len(problems)} problems:')
    lines += [f'  - {problem}' for problem in problems[:_MOST]]
    if len(problems) > _MOST:
        lines.append(f'  ... and {len(problems) - _MOST} more; --json FILE has them all')
    return '\n'.join(lines)


def draw_report(report: DatasetReport, path: str | Path) -> None:
    """Histograms of all tasks as one picture.

    Raises:
        MissingDependencyError: If matplotlib is absent.
    """
    pyplot = require('matplotlib.figure', '--plot', 'pip install matplotlib')
    keys = [key for key in report.statistics if report.present[key]]
    figure = pyplot.Figure(figsize=(9, 3.2 * max(len(keys), 1)), layout='constrained')
    figure.suptitle(f'{report.name}: {report.read} pictures')
    for number, key in enumerate(keys):
        axes = figure.add_subplot(len(keys), 1, number + 1)
        report.statistics[key].draw(axes)
        axes.set_title(key, loc='left')
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def mirrors_text(mirrors: Sequence[Mirror]) -> str:
    """Mirrors for a terminal."""
    blocks = []
    for mirror in mirrors:
        lines = [mirror.name, f'  where:    {mirror.url or "(no address known with certainty)"}']
        lines.append(f'  content:  {mirror.content}')
        lines += [f'  lacks:    {what}' for what in mirror.lacks]
        lines.append(f'  terms:    {mirror.terms}')
        lines.append(f'  sha256:   {mirror.sha256 or "not stated by anyone"}')
        if not mirror.checked:
            lines.append('  This entry was not checked against a download.')
        blocks.append('\n'.join(lines))
    return '\n\n'.join(blocks)
