"""Every dense map of pictures.

::

    python demo/image_demo.py kitchen.jpg CONFIG CHECKPOINT --out-dir outputs
    python demo/image_demo.py 'shots/**/*.jpg' CONFIG CHECKPOINT --flip --formats npz panel

The input is a picture, a folder, a quoted pattern, or a video. The config is a path or the name of
one of mmdense.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from rich.progress import track

from mmdense.apis import DenseInferencer
from mmdense.apis.inputs import count_inputs
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


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """What both demos ask about the model."""
    parser.add_argument('config', help='path or name of a config')
    parser.add_argument('checkpoint', help='.pth or .safetensors')
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (default: a GPU if there is one)')
    parser.add_argument('--mode', choices=('whole', 'slide'), help='slide: look through windows')
    parser.add_argument(
        '--crop-size', nargs=2, type=int, metavar=('H', 'W'), help='windows of --mode slide'
    )
    parser.add_argument(
        '--stride', nargs=2, type=int, metavar=('H', 'W'), help='their steps (two thirds of them)'
    )
    parser.add_argument('--flip', action='store_true', help='average with the mirrored picture')
    parser.add_argument('--no-progress', action='store_true', help='draw no progress bar')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')


def model_of(args: argparse.Namespace) -> DenseInferencer:
    """The inferencer that the command line asks for."""
    return DenseInferencer(args.config, args.checkpoint, device=args.device, show_progress=False)


def looks_of(args: argparse.Namespace) -> dict[str, Any]:
    """How pictures are looked at."""
    pairs = dict(crop_size=args.crop_size, stride=args.stride)
    sizes = {key: None if pair is None else tuple(pair) for key, pair in pairs.items()}
    return dict(mode=args.mode, flip=args.flip or None, **sizes)


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
