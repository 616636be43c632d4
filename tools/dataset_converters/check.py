r"""Whether a data set is whole and plausible, before anything is trained on it.

::

    python tools/dataset_converters/check.py nyud --split val
    python tools/dataset_converters/check.py \
        configs/baselines/mtl_r18-thin_1xb8-600_rooms-96x128.py --split train --plot check.png
    python tools/dataset_converters/check.py nyud --write nyud.sha256
    python tools/dataset_converters/check.py --mirrors nyud
"""

import argparse
import sys
from typing import Any

from mmdense.apis.check_dataset import DatasetReport, check_dataset
from mmdense.apis.check_report import draw_report, mirrors_text, report_text
from mmdense.apis.data_manifest import (
    compare,
    data_checksum,
    hash_files,
    read_manifest,
    write_manifest,
)
from mmdense.apis.named_datasets import NAMES, named_dataset
from mmdense.datasets.mirrors import known_mirrors
from mmdense.engine.launch import guard, load_config
from mmdense.utils import DataError, suggest
from mmdense.utils.command_line import ToolParser
from mmdense.utils.files import atomic_write_json


def dataset_config(args: argparse.Namespace) -> dict[str, Any]:
    """The data set that the command names."""
    if not args.dataset.endswith('.py'):
        return named_dataset(args.dataset, args.split, args.data_root, args.tasks)
    loader = f'{args.split}_dataloader'
    cfg = load_config(args.dataset, check=('tasks', loader))
    if not cfg.get(loader):
        raise DataError(f'{args.dataset}: has no `{loader}`; choose another --split.')
    found = cfg[loader].dataset.to_dict()
    found.setdefault('tasks', cfg.get('tasks'))
    for key in args.tasks:
        if key not in found['tasks']:
            raise DataError(f"'{args.dataset}': task '{key}'. {suggest(key, found['tasks'])}")
    if args.tasks:
        found['tasks'] = {key: found['tasks'][key] for key in args.tasks}
    if args.data_root is not None:
        found['data_root'] = args.data_root
    return found


def add_checksums(args: argparse.Namespace, report: DatasetReport) -> None:
    """Checksums of all files, written or compared as the command asks."""
    asked = bool(args.write or args.verify)
    # Who reads part of the pictures does not want to wait for all files.
    if not report.data_root or args.no_checksum or (args.limit and not asked):
        if asked:
            raise DataError(
                '--write and --verify need the files of a data set and no --no-checksum.'
            )
        return
    manifest = args.write or args.verify
    hashes = hash_files(report.data_root, args.workers + 1, without=manifest)
    report.checksum = data_checksum(hashes)
    if args.write:
        write_manifest(args.write, hashes)
    if args.verify:
        changes = compare(hashes, read_manifest(args.verify))
        for what, names in vars(changes).items():
            if names:
                report.problems.append(
                    f"{len(names)} files are {what} against '{args.verify}', for example "
                    f'{", ".join(names[:3])}'
                )


def run(args: argparse.Namespace) -> DatasetReport:
    """Check, print and write."""
    report = check_dataset(dataset_config(args), args.limit, args.workers, show=not args.quiet)
    add_checksums(args, report)
    print(report_text(report))
    if args.json:
        atomic_write_json(args.json, report.as_dict())
    if args.plot:
        draw_report(report, args.plot)
    return report


def main(argv: list[str] | None = None) -> int:
    """0 if nothing is wrong, 1 if something is, 2 if the command is."""
    parser = ToolParser(__doc__)
    parser.add_argument('dataset', nargs='?', help=f'a config, or one of {", ".join(NAMES)}')
    parser.add_argument('--split', choices=('train', 'val', 'test'), default='train')
    parser.add_argument('--data-root', help='folder of the data')
    parser.add_argument('--tasks', nargs='+', default=[], help='default: all')
    parser.add_argument(
        '--limit', type=int, help='read only so many pictures, and make no checksum of the files'
    )
    parser.add_argument('--workers', type=int, default=0, help='processes besides this one')
    parser.add_argument('--write', metavar='MANIFEST', help='write the checksums of all files')
    parser.add_argument('--verify', metavar='MANIFEST', help='compare them with such a file')
    parser.add_argument('--no-checksum', action='store_true', help='read no file twice')
    parser.add_argument('--json', metavar='FILE', help='write everything that was found')
    parser.add_argument('--plot', metavar='FILE.png', help='draw histograms')
    parser.add_argument('--mirrors', metavar='NAME', help='say where a data set can be had')
    parser.add_argument('--quiet', action='store_true', help='no progress bar')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    args = parser.parse_args(argv)
    if args.limit is not None and args.limit < 1:
        parser.error(f'--limit is {args.limit}; read at least one picture')
    if args.mirrors:
        return guard(lambda: print(mirrors_text(known_mirrors(args.mirrors))), debug=args.debug)
    if args.dataset is None:
        parser.error('name a data set or a config, or ask for --mirrors NAME')
    reports: list[DatasetReport] = []
    code = guard(lambda: reports.append(run(args)), debug=args.debug)
    return code or int(bool(reports[0].all_problems()))


if __name__ == '__main__':
    sys.exit(main())
