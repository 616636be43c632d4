"""Write procedural rooms in the layout of another data set; nothing to download.

::

    python tools/dataset_converters/rooms.py --layout nyud --out data/nyud --train 40 --val 10
    python tools/dataset_converters/rooms.py --layout folder --out data/folder --size 96 128
"""

import argparse
import sys
from pathlib import Path

from mmdense.apis.convert import converter_parser, run_converter, size_option
from mmdense.datasets.rooms.constants import CLASSES, PARTS
from mmdense.datasets.sources import RoomsSource
from mmdense.datasets.sources.rooms_mapping import LAYOUTS, normal_categories
from mmdense.datasets.writers import (
    CityscapesSmallWriter,
    CityscapesWriter,
    FolderWriter,
    LayoutWriter,
    NYUDWriter,
    NYUv2Writer,
    PASCALContextWriter,
    TaskonomyWriter,
    pack_building,
)
from mmdense.utils.files import atomic_write_text


def build(args: argparse.Namespace) -> tuple[RoomsSource, LayoutWriter]:
    """The rooms, and the writer of their layout."""
    counts = {
        split: getattr(args, split)
        for split in ('train', 'val', 'test')
        if getattr(args, split) > 0
    }
    if not counts:
        raise ValueError('No picture is asked for; set --train, --val or --test to at least 1.')
    size = None if args.size is None else (args.size[0], args.size[1])
    source = RoomsSource(args.layout, counts, size, args.seed, args.num_classes)
    out, overwrite = args.out, args.overwrite
    writers = {
        'folder': lambda: FolderWriter(
            out, dict(semseg=CLASSES, part=PARTS), overwrite=overwrite, name='rooms'
        ),
        'nyud': lambda: NYUDWriter(out, 'png', overwrite),
        'nyud-mt': lambda: NYUDWriter(out, 'npy', overwrite),
        'nyuv2': lambda: NYUv2Writer(out, overwrite),
        'pascal': lambda: PASCALContextWriter(out, normal_categories(), overwrite),
        'cityscapes': lambda: CityscapesWriter(out, 'metric', overwrite),
        'cityscapes-small': lambda: CityscapesSmallWriter(
            out, args.label_folder, args.num_classes, overwrite
        ),
        'taskonomy': lambda: TaskonomyWriter(out, prefix=args.prefix, overwrite=overwrite),
    }
    return source, writers[args.layout]()


def pack(args: argparse.Namespace) -> None:
    """With ``--tar``: an archive beside each building. PASCAL: the lists of boundary scores."""
    if args.layout == 'pascal' and args.val > 0:
        lists = Path(args.out, 'ImageSets', 'Context')
        names = (lists / 'val.txt').read_text().splitlines()
        for name, part in (('test_new', names[::2]), ('val_new', names[1::2])):
            atomic_write_text(lists / f'{name}.txt', ''.join(f'{line}\n' for line in part))
    if args.tar:
        for index in sorted(Path(args.out, 'index').glob('*.txt')):
            pack_building(Path(args.out), index.stem)


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = converter_parser(__doc__, 'data/rooms_layout')
    parser.add_argument('--layout', required=True, choices=list(LAYOUTS), help='what to imitate')
    parser.add_argument('--train', type=int, default=40, help='pictures (default: %(default)s)')
    parser.add_argument('--val', type=int, default=10, help='pictures (default: %(default)s)')
    parser.add_argument('--test', type=int, default=0, help='pictures (default: %(default)s)')
    size_option(parser, None, "of the pictures (default: the layout's own)")
    parser.add_argument('--seed', type=int, default=0, help='family of scenes (default: 0)')
    parser.add_argument(
        '--num-classes', type=int, choices=(2, 7, 19), default=7, help='of cityscapes-small'
    )
    parser.add_argument('--label-folder', default='label', help='of cityscapes-small')
    parser.add_argument('--prefix', default='tiny', help='of the split lists of taskonomy')
    parser.add_argument('--tar', action='store_true', help='taskonomy: also pack each building')
    return run_converter(parser.parse_args(argv), build, pack)


if __name__ == '__main__':
    sys.exit(main())
