r"""Taskonomy: building lists and view indexes; smaller copies; one archive per building.

::

    # Lists and indexes beside downloaded buildings, which stay as they are.
    python tools/dataset_converters/taskonomy.py --source data/taskonomy \
        --table train_val_test_tiny.csv --out data/taskonomy
    # A copy of 256x256, packed.
    python tools/dataset_converters/taskonomy.py --source data/taskonomy \
        --table train_val_test_tiny.csv --out data/taskonomy_256 --size 256 256 --tar
"""

import argparse
import re
import sys
from pathlib import Path

from mmdense.apis.convert import converter_parser, run_converter, size_option
from mmdense.datasets.sources import TaskonomySource
from mmdense.datasets.writers import TaskonomyWriter, pack_building
from mmdense.utils import DataError


def build(args: argparse.Namespace) -> tuple[TaskonomySource, TaskonomyWriter]:
    """The buildings, and the writer of the layout."""
    same = Path(args.source).resolve() == Path(args.out).resolve()
    if same and (args.size or args.overwrite or args.source_layout != '{building}/{domain}'):
        raise DataError(
            f"--out '{args.out}' is --source: only lists and indexes are written there. For "
            'smaller or rearranged copies, or with --overwrite, name another folder as --out.'
        )
    size = None if args.size is None else (args.size[0], args.size[1])
    source = TaskonomySource(
        args.source,
        args.table,
        args.source_layout,
        [] if same else args.domains,
        size,
        args.splits,
        args.skip_missing,
    )
    prefix = args.prefix or re.sub('^train_val_test_', '', Path(args.table).stem)
    return source, TaskonomyWriter(args.out, prefix=prefix, overwrite=args.overwrite)


def pack(args: argparse.Namespace) -> None:
    """With ``--tar``: an archive per building."""
    if args.tar:
        for index in sorted(Path(args.out, 'index').glob('*.txt')):
            if Path(args.out, index.stem).is_dir():
                pack_building(Path(args.out), index.stem, remove=args.remove_folders)


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = converter_parser(__doc__, 'data/taskonomy')
    parser.add_argument('--source', required=True, help='folder of the downloaded buildings')
    parser.add_argument('--table', required=True, help="the authors' table of a split, .csv")
    parser.add_argument('--source-layout', default='{building}/{domain}', help='%(default)s')
    parser.add_argument('--domains', nargs='+', help='besides rgb (default: all that are there)')
    parser.add_argument('--splits', nargs='+', default=['train', 'val', 'test'])
    parser.add_argument('--skip-missing', action='store_true', help='leave absent buildings out')
    parser.add_argument('--prefix', help='of the split lists (default: from the name of --table)')
    parser.add_argument('--tar', action='store_true', help='pack each building')
    parser.add_argument('--remove-folders', action='store_true', help='after packing')
    size_option(parser, None, 'of the copies (default: files are copied as they are)')
    return run_converter(parser.parse_args(argv), build, pack)


if __name__ == '__main__':
    sys.exit(main())
