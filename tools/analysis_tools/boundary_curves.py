r"""Draw precision-recall curves of boundary evaluations into one picture.

Each file is what ``BoundaryMetric(counters_file=...)`` wrote::

    python tools/analysis_tools/boundary_curves.py \
        ours=work_dirs/a/counters.json theirs=work_dirs/b/counters.json --out curves.png
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmdense.engine.launch import guard
from mmdense.evaluation.boundary import BoundaryScores, boundary_scores, precision_recall
from mmdense.utils import DataError
from mmdense.utils.command_line import ToolParser

Array = np.ndarray


class Run(NamedTuple):
    """One evaluation."""

    name: str
    protocol: str
    pictures: int
    counts: Array
    scores: BoundaryScores


def read_run(text: str) -> Run:
    """Read ``FILE`` or ``NAME=FILE``.

    Raises:
        DataError: If the file is missing or is no counters file.
    """
    name, _, given = text.rpartition('=')
    path = Path(given)
    try:
        found = json.loads(path.read_text())
        counts, thresholds = np.asarray(found['counts']), np.asarray(found['thresholds'])
        best, protocol = np.asarray(found['best']), str(found['protocol'])
        pictures = int(found['pictures'])
    except OSError as error:
        raise DataError(f'{path} cannot be read ({error}).') from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{path} is no counters file ({type(error).__name__}: {error}). Set '
            "`counters_file='counters.json'` of BoundaryMetric and evaluate."
        ) from error
    if counts.shape != (len(thresholds), 4) or best.shape != (4,):
        raise DataError(
            f'{path}: counts {counts.shape} and best {best.shape}, expected '
            f'({len(thresholds)}, 4) and (4,). Evaluate again.'
        )
    scores = boundary_scores(counts, best, thresholds)
    return Run(name or path.stem, protocol, pictures, counts, scores)


def check_protocols(runs: list[Run]) -> None:
    """Refuse curves that were made in different ways.

    Raises:
        DataError: If protocols or numbers of pictures differ.
    """
    ways = {f'{run.protocol}; {run.pictures} pictures': run.name for run in runs}
    if len(ways) > 1:
        listed = '\n'.join(f'  {name}: {way}' for way, name in ways.items())
        raise DataError(
            f'The curves were made by different protocols:\n{listed}\n'
            'Evaluate them alike, or pass --mixed to draw them all the same.'
        )


def draw(runs: list[Run], out: str) -> None:
    """Draw the curves; the point of ODS is marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 6.4), dpi=150)
    axes = figure.add_subplot()
    draw_iso_lines(axes)
    for run in runs:
        precision, recall = precision_recall(run.counts)
        # Where nothing is predicted precision is 1 by convention; it is no point of a curve.
        drawn = run.counts[:, 3] > 0
        scores = run.scores
        label = f'{run.name}: ODS {scores.ods:.3f}, OIS {scores.ois:.3f}, AP {scores.ap:.3f}'
        (line,) = axes.plot(recall[drawn], precision[drawn], linewidth=1.8, label=label)
        axes.plot(scores.ods_recall, scores.ods_precision, 'o', color=line.get_color())
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel='recall', ylabel='precision', aspect='equal')
    protocols = sorted({run.protocol for run in runs})
    title = protocols[0] if len(protocols) == 1 else f'{len(protocols)} different protocols'
    axes.set_title(title, fontsize=7, wrap=True)
    axes.legend(loc='lower left', fontsize=8)
    figure.tight_layout()
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)


def draw_iso_lines(axes: Any) -> None:
    """Lines of equal F."""
    for f in np.arange(1, 10) / 10:
        recall = np.linspace(f / (2 - f), 1, 200)
        axes.plot(recall, f * recall / (2 * recall - f), color='0.8', linewidth=0.8, zorder=0)
        axes.text(1.01, f / (2 - f), f'F={f:.1f}', color='0.5', fontsize=7, va='center')


def run(args: argparse.Namespace) -> None:
    """Read, draw and say where the picture is."""
    runs = [read_run(text) for text in args.files]
    if not args.mixed:
        check_protocols(runs)
    draw(runs, args.out)
    print(f'{len(runs)} curves in {args.out}')


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('files', nargs='+', metavar='[NAME=]FILE', help='counters files')
    parser.add_argument('--out', default='boundary_curves.png', help='default: %(default)s')
    parser.add_argument('--mixed', action='store_true', help='draw different protocols together')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    args = parser.parse_args(argv)
    return guard(lambda: run(args), debug=args.debug)


if __name__ == '__main__':
    sys.exit(main())
