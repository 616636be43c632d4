r"""Small Cityscapes arrays, as MTAN made them, from the official folders; or a check of those.

::

    python tools/dataset_converters/cityscapes.py --source data/cityscapes \
        --out data/cityscapes_small --size 128 256 --num-classes 7 --workers 4
    python tools/dataset_converters/cityscapes.py --source data/cityscapes --check

The official folders are read as they are by ``CityscapesDataset``: no conversion is needed.
"""

import argparse
import sys

from mmdense.apis.convert import converter_parser, run_converter, size_option
from mmdense.datasets.sources import CityscapesSource
from mmdense.datasets.sources.cityscapes import OFFICIAL, list_pictures
from mmdense.datasets.writers import CityscapesSmallWriter
from mmdense.engine.launch import guard


def build(args: argparse.Namespace) -> tuple[CityscapesSource, CityscapesSmallWriter]:
    """The pictures, and the writer of the arrays."""
    size = (args.size[0], args.size[1])
    source = CityscapesSource(args.source, args.splits, size, args.num_classes)
    folder = args.label_folder or f'label_{args.num_classes}'
    return source, CityscapesSmallWriter(args.out, folder, args.num_classes, args.overwrite)


def check(args: argparse.Namespace) -> None:
    """Whether every picture has its labels, disparity and camera."""
    from pathlib import Path

    for split in args.splits:
        names = list_pictures(Path(args.source), split, list(OFFICIAL))
        print(f'{args.source}: split {split} has {len(names)} pictures with all files.')


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = converter_parser(__doc__, 'data/cityscapes_small')
    parser.add_argument('--source', required=True, help='folder above leftImg8bit and gtFine')
    parser.add_argument('--splits', nargs='+', default=['train', 'val'], help='default: train val')
    parser.add_argument(
        '--num-classes', type=int, choices=(2, 7, 19), default=7, help='default: %(default)s'
    )
    parser.add_argument('--label-folder', help='name of the label folder (default: label_<n>)')
    parser.add_argument('--check', action='store_true', help='only look whether files are there')
    size_option(parser, (128, 256), 'of the arrays (default: 128 256)')
    args = parser.parse_args(argv)
    if args.check:
        return guard(lambda: check(args), debug=args.debug)
    return run_converter(args, build)


if __name__ == '__main__':
    sys.exit(main())
