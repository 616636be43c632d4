"""The page of the model zoo from the metafiles, and entries of the metafiles from logged runs.

Write ``docs/model_zoo.md``, after putting finished runs into the metafiles of their configs.

::

    python tools/misc/model_zoo.py --add work_dirs/x_seed0 work_dirs/x_seed1
    python tools/misc/model_zoo.py
"""

import argparse
import sys
from pathlib import Path

from mmdense.apis.method_comparison import write_between_markers
from mmdense.apis.model_zoo import MARKERS, add_runs, read_metafiles, zoo_page
from mmdense.engine.launch import guard
from mmdense.utils.command_line import ToolParser


def run(args: argparse.Namespace) -> None:
    """Add runs, then write the page."""
    root = Path(args.root)
    if args.add:
        for name in add_runs(root, args.add):
            print(name)
    page = root / args.page
    write_between_markers(page, zoo_page(read_metafiles(root), root, page), MARKERS)
    print(page)


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument(
        '--add', nargs='+', metavar='RUN', help='work directories whose results enter the metafiles'
    )
    parser.add_argument('--root', default='.', help='checkout (default: here)')
    parser.add_argument('--page', default='docs/model_zoo.md', help='page (default: %(default)s)')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    args = parser.parse_args(argv)
    return guard(lambda: run(args), debug=args.debug)


if __name__ == '__main__':
    sys.exit(main())
