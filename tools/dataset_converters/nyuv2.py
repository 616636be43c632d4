r"""NYUv2 with 13 classes and three tasks, 288x384 arrays, from the files of its authors.

::

    python tools/dataset_converters/nyuv2.py --labeled nyu_depth_v2_labeled.mat \
        --splits splits.mat --mapping classMapping40.mat --out data/nyuv2 --workers 4

Normals are computed from the depth unless ``--normals`` names a folder of published ones.
"""

import argparse
import sys

from mmdense.apis.convert import converter_parser, run_converter, size_option
from mmdense.datasets.sources import NYUDepthV2Source
from mmdense.datasets.writers import NYUv2Writer


def build(args: argparse.Namespace) -> tuple[NYUDepthV2Source, NYUv2Writer]:
    """The frames, and their writer."""
    source = NYUDepthV2Source(
        args.labeled,
        args.splits,
        args.mapping,
        num_classes=13,
        size=(args.size[0], args.size[1]),
        normals=args.normals,
        tasks=NYUv2Writer.tasks,
    )
    return source, NYUv2Writer(args.out, args.overwrite)


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = converter_parser(__doc__, 'data/nyuv2')
    parser.add_argument('--labeled', required=True, help='nyu_depth_v2_labeled.mat')
    parser.add_argument('--splits', required=True, help='splits.mat')
    parser.add_argument('--mapping', required=True, help='classMapping40.mat or labels40.mat')
    parser.add_argument('--normals', help='folder of normals, <frame>.npy or .png, from 0001')
    size_option(parser, (288, 384), 'of the arrays (default: 288 384)')
    return run_converter(parser.parse_args(argv), build)


if __name__ == '__main__':
    sys.exit(main())
