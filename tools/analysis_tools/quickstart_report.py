"""Print what the quickstart reached.

::

    python tools/analysis_tools/quickstart_report.py work_dirs/quickstart

Reads ``test_results.json`` (from ``tools/test.py --out``) and ``constant.json`` (from
``constant_baseline.py --out``) of the work directory.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

from mmdense.engine.launch import guard
from mmdense.evaluation.multi_task_evaluator import results_table
from mmdense.utils import DataError
from mmdense.utils.command_line import ToolParser


def read(path: Path, made_by: str) -> Any:
    """Read a JSON file; null, which stands for NaN there, becomes NaN."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise DataError(f'{path} does not exist. Make it with {made_by}.') from error
    except json.JSONDecodeError as error:
        raise DataError(f'{path} is no JSON ({error}). Make it again with {made_by}.') from error
    return _with_nan(found)


def _with_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nan(item) for key, item in value.items()}
    return math.nan if value is None else value


def make_report(work_dir: Path) -> str:
    """The table, and where the pictures are."""
    results = read(work_dir / 'test_results.json', '`python tools/test.py ... --out`')
    constant = read(
        work_dir / 'constant.json', '`python tools/analysis_tools/constant_baseline.py ... --out`'
    )
    lines = [results_table(results, {'best constant': constant})]
    for label, path in (
        ('Picture', work_dir / 'panels' / 'test.png'),
        ('Clusters behind it', work_dir / 'panels' / 'test_semseg_clusters.png'),
        ('Every test picture', work_dir / 'test_pictures'),
        ('Checkpoint', results.get('checkpoint')),
    ):
        if path is not None and Path(path).exists():
            lines.append(f'{label}: {path}')
    return '\n'.join(lines)


def main(argv: list[str] | None = None) -> int:
    """Print the report and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('work_dir', type=Path, help='work directory of the quickstart')
    args = parser.parse_args(argv)
    return guard(lambda: print(make_report(args.work_dir)))


if __name__ == '__main__':
    sys.exit(main())
