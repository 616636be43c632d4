r"""NYUD-v2 with four tasks, 425x560, from the files of its authors.

::

    python tools/dataset_converters/nyud.py --labeled nyu_depth_v2_labeled.mat \
        --splits splits.mat --mapping classMapping40.mat --out data/nyud --workers 4

Boundaries come from the annotation and normals from the depth unless ``--normals`` names a
folder: neither equals the published files of the multi-task release.
"""

import argparse
import sys

from mmdense.apis.convert import converter_parser, run_converter
from mmdense.datasets.sources import NYUDepthV2Source
from mmdense.datasets.writers import NYUDWriter


def build(args: argparse.Namespace) -> tuple[NYUDepthV2Source, NYUDWriter]:
    """The frames, and their writer."""
    source = NYUDepthV2Source(args.labeled, args.splits, args.mapping, normals=args.normals)
    return source, NYUDWriter(args.out, args.packaging, args.overwrite)


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = converter_parser(__doc__, 'data/nyud')
    parser.add_argument('--labeled', required=True, help='nyu_depth_v2_labeled.mat')
    parser.add_argument('--splits', required=True, help='splits.mat')
    parser.add_argument('--mapping', required=True, help='classMapping40.mat or labels40.mat')
    parser.add_argument('--normals', help='folder of normals, <frame>.npy or .png, from 0001')
    parser.add_argument(
        '--packaging',
        choices=('png', 'npy'),
        default='png',
        help='npy stores normals as floats (default: %(default)s)',
    )
    return run_converter(parser.parse_args(argv), build)


if __name__ == '__main__':
    sys.exit(main())
