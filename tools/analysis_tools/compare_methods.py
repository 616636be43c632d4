r"""Parameters, operations, time and memory of several methods, in one table.

Single-task networks join into one row with `+`, and a name goes in front of `=`::

    python tools/analysis_tools/compare_methods.py \
        configs/ctal/ctal-ss_r18-thin_1xb8-600_rooms-96x128.py \
        mtl=configs/baselines/mtl_r18-thin_1xb8-600_rooms-96x128_ctal.py --steps 5

``--write configs/README.md`` puts the table into the page, between the lines
``<!-- methods: begin -->`` and ``<!-- methods: end -->``.
"""

import argparse
import sys
from pathlib import Path

import torch
from mmengine.config import DictAction

from mmdense.apis.benchmark import Settings
from mmdense.apis.method_comparison import markdown, measure_method, write_between_markers
from mmdense.engine.launch import guard
from mmdense.utils.command_line import ToolParser


def run(args: argparse.Namespace) -> None:
    """Measure and print, and write with ``--write``."""
    torch.set_num_threads(args.threads)
    settings = Settings(
        shape=(0, 0),  # that of each config
        device=args.device,
        batch_size=args.batch,
        steps=args.steps,
        warmup=args.warmup,
        amp=args.amp,
        memory=not args.no_memory,
    )
    shape = tuple(args.shape) if args.shape else None
    rows = [
        measure_method(text, settings, shape, not args.no_time, args.cfg_options)
        for text in args.methods
    ]
    size = f'{shape[0]}x{shape[1]}' if shape else 'the size of its config'
    caption = f'Parameters, and operations of one picture of {size}.'
    if not args.no_time:
        caption += (
            f' Steps of {args.batch} pictures, {args.threads} thread(s), {args.device}, '
            f'{"bf16" if args.amp else "fp32"}, median of {args.steps}.'
        )
    print(caption)
    print(markdown(rows))
    if args.write:
        page = Path(args.write)
        write_between_markers(page, f'{caption}\n\n{markdown(rows, page.parent)}')
        print(page)


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('methods', nargs='+', metavar='[NAME=]CONFIG[+CONFIG...]')
    parser.add_argument('--shape', type=int, nargs=2, metavar=('H', 'W'), help='input size')
    parser.add_argument('--batch', type=int, default=1, help='pictures per step (default: 1)')
    parser.add_argument('--steps', type=int, default=5, help='timed steps (default: 5)')
    parser.add_argument('--warmup', type=int, default=1, help='steps before them (default: 1)')
    parser.add_argument('--threads', type=int, default=1, help='of the CPU (default: 1)')
    parser.add_argument('--device', default='cpu', help='default: %(default)s')
    parser.add_argument('--amp', action='store_true', help='bf16 autocast')
    parser.add_argument('--no-time', action='store_true', help='parameters and MACs alone')
    parser.add_argument('--no-memory', action='store_true', help='leave peak memory out')
    parser.add_argument('--write', metavar='PAGE', help='page to put the table into')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    args = parser.parse_args(argv)
    return guard(lambda: run(args), debug=args.debug)


if __name__ == '__main__':
    sys.exit(main())
