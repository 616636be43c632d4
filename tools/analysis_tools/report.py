r"""Table over runs and seeds, with Delta_m against single-task networks.

Runs of one config that differ in their seed become one row with mean and standard deviation::

    python tools/analysis_tools/report.py work_dirs/x_seed0 work_dirs/x_seed1 work_dirs/y \
        --stl work_dirs/stl_depth work_dirs/stl_semseg --out reports/xy
"""

import argparse
import sys

from mmdense.apis.report import make_report
from mmdense.engine.launch import guard
from mmdense.evaluation.setting import ASPECTS
from mmdense.utils.command_line import ToolParser


def run(args: argparse.Namespace) -> None:
    """Print, and write with ``--out``."""
    report = make_report(
        args.work_dirs,
        reference=args.reference,
        stl=args.stl,
        metrics=args.metrics,
        allow=args.allow,
        every_metric=args.all,
        flops=args.flops,
        split=args.split,
    )
    print(report.text())
    if args.out:
        for path in report.save(args.out):
            print(path)


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('work_dirs', nargs='+', help='work directories or results files of runs')
    against = parser.add_mutually_exclusive_group()
    against.add_argument('--reference', metavar='YAML', help='single-task numbers for Delta_m')
    against.add_argument('--stl', nargs='+', default=[], metavar='DIR', help='single-task runs')
    parser.add_argument(
        '--metrics',
        choices=('headline', 'all'),
        default='headline',
        help='of Delta_m: one per task (ASTMT, ATRC), or all, averaged per task first (LibMTL)',
    )
    parser.add_argument(
        '--allow',
        nargs='+',
        default=[],
        choices=ASPECTS,
        metavar='ASPECT',
        help=f'compare with the reference although these differ: {", ".join(ASPECTS)}',
    )
    parser.add_argument('--all', action='store_true', help='every metric, not only headlines')
    parser.add_argument('--flops', action='store_true', help='measure MACs from the saved configs')
    parser.add_argument('--split', choices=('val', 'test'), help='default: test, else val')
    parser.add_argument('--out', metavar='DIR', help='write report.md, report.csv and pictures')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    args = parser.parse_args(argv)
    return guard(lambda: run(args), debug=args.debug)


if __name__ == '__main__':
    sys.exit(main())
