r"""Every dense map of pictures.

::

    python demo/image_demo.py kitchen.jpg mtl_r18-thin_1xb8-600_rooms-96x128 \
        work_dirs/mtl_r18-thin_1xb8-600_rooms-96x128/iter_600.pth \
        --out-dir outputs

INPUT is a picture, a folder, a quoted pattern such as ``'shots/**/*.jpg'``, or a video. CONFIG is a
path or the name of a config of mmdense.
"""

from __future__ import annotations

import argparse
import sys

from rich.progress import track

from mmdense.apis.inputs import count_inputs
from mmdense.apis.model_options import add_model_options, looks_of, model_of
from mmdense.apis.results import Prediction
from mmdense.apis.savers import FORMATS
from mmdense.engine.launch import guard
from mmdense.utils.command_line import ToolParser


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(__doc__)
    parser.add_argument('input', help="picture, folder, quoted pattern ('a/**/*.jpg') or video")
    add_model_options(parser)
    parser.add_argument('--out-dir', default='outputs', help='folder for files (%(default)s)')
    parser.add_argument(
        '--formats',
        nargs='+',
        choices=FORMATS,
        metavar='FORMAT',
        default=['npz', 'depth', 'labels', 'pictures', 'panel'],
        help='what is written: '
        + '; '.join(f'{name} = {text}' for name, text in FORMATS.items())
        + ' (default: all but ply)',
    )
    parser.add_argument(
        '--intrinsics',
        nargs=4,
        type=float,
        metavar=('FX', 'FY', 'CX', 'CY'),
        help='of the camera, in pixels of the picture; adds the point cloud (ply)',
    )
    parser.add_argument('--batch-size', type=int, default=1, help='pictures at once (1)')
    parser.add_argument(
        '--on-error',
        choices=('skip', 'raise'),
        default='skip',
        help='what a picture that cannot be read does (%(default)s)',
    )
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Predict, save, and say what was written."""
    formats = [*args.formats]
    if args.intrinsics and 'ply' not in formats:
        formats.append('ply')
    predicted = model_of(args).stream(
        args.input,
        batch_size=args.batch_size,
        on_error=args.on_error,
        intrinsics=args.intrinsics,
        out_dir=args.out_dir,
        formats=formats,
        **looks_of(args),
    )
    if not args.no_progress:
        predicted = track(predicted, 'pictures', total=count_inputs(args.input))
    done, refused = 0, 0
    last: Prediction | None = None
    for found in predicted:
        if found.error is None:
            done, last = done + 1, found
        else:
            refused += 1
    if last is not None:
        for key, item in (last.maps or {}).items():
            print(f'{key}: {item.kind} [{item.unit}], {item.convention}')
        print(f'files of {last.name}: {", ".join(str(path) for path in last.files)}')
    print(f'{done} pictures into {args.out_dir}' + (f', {refused} refused' if refused else ''))


def main(argv: list[str] | None = None) -> int:
    """Run the demo and return the exit code."""
    args = parse_args(argv)
    return guard(lambda: run(args), debug=args.debug)


if __name__ == '__main__':
    sys.exit(main())
