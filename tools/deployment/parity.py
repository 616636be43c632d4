"""Export every method of the library and compare it with PyTorch.

::

    python tools/deployment/parity.py --methods DeMT InvPT
    python tools/deployment/parity.py --json work_dirs/parity.json --write docs/deployment.md

Methods that are in the JSON file already are passed over, so that an interrupted run goes on.
"""

import argparse
import json
import sys
from pathlib import Path

from mmdense.deployment.method_parity import METHODS, measure_all, passes, write_page
from mmdense.deployment.parity import TOLERANCE
from mmdense.engine.launch import guard
from mmdense.utils import suggest
from mmdense.utils.command_line import ToolParser
from mmdense.utils.config_check import ConfigError


def run(args: argparse.Namespace) -> int:
    """Measure, print one line per method, and write the page; how many failed."""
    for name in args.methods or ():
        if name not in METHODS:
            raise ConfigError(f'--methods {name!r}. {suggest(name, METHODS)}')
    path = Path(args.json)
    for index, (name, row) in enumerate(measure_all(path, args.methods), 1):
        print(f'[{index}] {name}: {line(row)}', flush=True)
    rows = json.loads(path.read_text()) if path.is_file() else {}
    if args.write:
        write_page(Path(args.write), rows)
    failed = [name for name, row in rows.items() if not passes(row, args.tolerance)]
    print(f'{len(rows) - len(failed)} of {len(METHODS)} methods equal PyTorch in both formats')
    for name in failed:
        print(f'failed: {name}')
    return len(failed)


def line(row: dict) -> str:
    """A row in one line."""
    if 'error' in row:
        return row['error']
    free = ' and '.join(row['dynamic']) or 'nothing'
    found = [f'{form} {row[form]["relative"]:.1e}' for form in ('onnx', 'torch')]
    return f'{free} free; max relative difference {", ".join(found)}'


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('--methods', nargs='+', metavar='NAME', help=f'of: {", ".join(METHODS)}')
    parser.add_argument(
        '--json', default='work_dirs/parity.json', help='results (default: %(default)s)'
    )
    parser.add_argument('--write', metavar='PAGE', help='page whose table is replaced')
    parser.add_argument(
        '--tolerance', type=float, default=TOLERANCE, help='default: %(default)s, float32'
    )
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    args = parser.parse_args(argv)
    failed: list[int] = []
    code = guard(lambda: failed.append(run(args)), debug=args.debug)
    return code or int(any(failed))


if __name__ == '__main__':
    sys.exit(main())
