r"""Gather single-task runs into a reference for Delta_m, means over their seeds::

    python tools/analysis_tools/make_reference.py work_dirs/stl_*_depth work_dirs/stl_*_semseg \
        --out configs/_base_/references/x.yaml

Use it as ``val_evaluator = dict(..., delta_m=dict(reference='configs/_base_/references/x.yaml'))``
or with ``report.py --reference``.
"""

import argparse
import sys
from pathlib import Path

from mmdense.apis.report_runs import group_runs, load_run, reference_from_runs
from mmdense.engine.launch import guard
from mmdense.evaluation import save_reference
from mmdense.utils.command_line import ToolParser


def run(args: argparse.Namespace) -> None:
    """Gather, write and say what was written."""
    groups = group_runs([load_run(path, args.split) for path in args.work_dirs])
    name = args.name or Path(args.out).stem
    reference = reference_from_runs(groups, name, args.source)
    save_reference(reference, args.out)
    for task, headline in reference.headlines.items():
        value = reference.metrics[headline]
        spread = '' if value.std is None else f' +- {value.std:.4f}'
        print(f'{task}: {headline.partition("/")[2]} {value.value:.4f}{spread}')
    print(args.out)


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('work_dirs', nargs='+', help='work directories of single-task runs')
    parser.add_argument('--out', required=True, metavar='YAML', help='reference file to write')
    parser.add_argument('--name', default='', help='default: the name of the file')
    parser.add_argument('--source', default='', help='default: the results files')
    parser.add_argument('--split', choices=('val', 'test'), help='default: test, else val')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    args = parser.parse_args(argv)
    return guard(lambda: run(args), debug=args.debug)


if __name__ == '__main__':
    sys.exit(main())
