r"""PASCAL-Context with five tasks, put together from its primary sources.

::

    python tools/dataset_converters/pascal_context.py \
        --images VOCdevkit/VOC2010/JPEGImages --context trainval --parts Annotations_Part \
        --normals normals_distill --saliency sal_distill --lists ImageSets/Context \
        --context-names labels.txt --nyu-names classMapping40.mat --out data/pascal_context

Every source but the pictures and the lists may be left out; the tasks of it are then missing.
"""

import argparse
import sys
from pathlib import Path

from mmdense.apis.convert import converter_parser, run_converter
from mmdense.datasets.pascal_normals import normal_categories, read_context_names
from mmdense.datasets.sources import PASCALContextSource, PASCALFolders
from mmdense.datasets.sources.pascal_context import read_nyu_names
from mmdense.datasets.writers import PASCALContextWriter
from mmdense.utils.files import atomic_write_bytes


def build(args: argparse.Namespace) -> tuple[PASCALContextSource, PASCALContextWriter]:
    """The sources, and the writer of the layout."""
    names = None if args.context_names is None else read_context_names(args.context_names)
    normal_ids = None
    if names is not None and args.nyu_names is not None:
        known = normal_categories(names, read_nyu_names(args.nyu_names))
        normal_ids = {number: names[number] for number in known}
    folders = {
        key: None if getattr(args, key) is None else Path(getattr(args, key))
        for key in ('context', 'parts', 'normals', 'saliency', 'semseg')
    }
    lists = {split: Path(args.lists, f'{split}.txt') for split in args.splits}
    source = PASCALContextSource(PASCALFolders(Path(args.images), **folders), lists, names)
    return source, PASCALContextWriter(args.out, normal_ids, args.overwrite)


def copy_edge_lists(args: argparse.Namespace) -> None:
    """The lists of pictures on which published boundary scores are made, where they are given."""
    for name in ('test_new.txt', 'val_new.txt'):
        given = Path(args.lists, name)
        if given.is_file():
            atomic_write_bytes(Path(args.out, 'ImageSets', 'Context', name), given.read_bytes())


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = converter_parser(__doc__, 'data/pascal_context')
    parser.add_argument('--images', required=True, help='JPEGImages of VOC2010')
    parser.add_argument(
        '--lists', required=True, help='folder of train.txt, val.txt and, if there, test_new.txt'
    )
    parser.add_argument('--splits', nargs='+', default=['train', 'val'], help='default: train val')
    parser.add_argument('--context', help='trainval of PASCAL-Context, .mat')
    parser.add_argument('--parts', help='Annotations_Part of PASCAL-Part, .mat')
    parser.add_argument('--normals', help='distilled normals, .png')
    parser.add_argument('--saliency', help='distilled saliency, .png')
    parser.add_argument('--semseg', help='labels of 21 classes, .png')
    parser.add_argument(
        '--context-names',
        help='labels.txt of PASCAL-Context: derives labels where --semseg has none',
    )
    parser.add_argument(
        '--nyu-names',
        help='the 894 names of NYU (.mat, or text): derives where normals are known',
    )
    return run_converter(parser.parse_args(argv), build, copy_edge_lists)


if __name__ == '__main__':
    sys.exit(main())
