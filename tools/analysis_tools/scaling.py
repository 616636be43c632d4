r"""How the time and memory of a step grow with an option, or with the size of the picture.

DeMT on Swin-T by the pooling of keys, then by pixels at a fixed number of keys::

    python tools/analysis_tools/scaling.py configs/demt/demt_swin-t_8xb1-40k_nyud-425x560.py \
        --shape 224 288 --option model.neck.kv_stride --values 1 2 4 8
    python tools/analysis_tools/scaling.py configs/demt/demt_swin-t_8xb1-40k_nyud-425x560.py \
        --shape 160 192 --shape 224 288 --shape 320 416 \
        --cfg-options model.neck.kv_grid=(7,9)

With several sizes the last line is the slope of log time against log pixels: 1 is linear.
"""

import argparse
import ast
import sys
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, DictAction
from terminaltables import AsciiTable

from mmdense.apis.benchmark import Row, Settings, measure_step
from mmdense.engine.launch import guard, load_config
from mmdense.utils.command_line import ToolParser
from mmdense.utils.config_check import require_valid_config


def configure(args: argparse.Namespace, value: Any) -> Config:
    """The config with the option set and without initial weights, which decide no time."""
    options = dict(args.cfg_options or {})
    if args.option:
        options[args.option] = value
    options['model.backbone.init_cfg'] = None
    cfg = load_config(args.config, options)
    require_valid_config(cfg, args.config)
    return cfg


def slope(shapes: list[tuple[int, int]], rows: list[Row]) -> float:
    """Of log time against log pixels, by least squares."""
    pixels = [height * width for height, width in shapes]
    times = [row.milliseconds for row in rows]
    return float(np.polyfit(np.log(pixels), np.log(times), 1)[0])


def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    torch.set_num_threads(args.threads)
    shapes = [(height, width) for height, width in args.shape]
    values = args.values if args.option else [None]
    lines = [['option', 'size', 'step, ms', 'peak, MiB']]
    for value in values:
        cfg, rows = configure(args, value), []
        for shape in shapes:
            settings = Settings(
                shape=shape,
                device=args.device,
                batch_size=args.batch,
                steps=args.steps,
                warmup=args.warmup,
                amp=args.amp,
                train=not args.inference,
                memory=not args.no_memory,
            )
            row = measure_step(cfg, settings)
            rows.append(row)
            peak = '-' if row.peak_mib is None else f'{row.peak_mib:.0f}'
            name = f'{args.option}={value}' if args.option else ''
            lines.append([name, f'{shape[0]} x {shape[1]}', f'{row.milliseconds:.0f}', peak])
        if len(shapes) > 1:
            lines.append(['', 'slope in pixels', f'{slope(shapes, rows):.2f}', ''])
    what = 'inference' if args.inference else 'training'
    title = f'{what} step, batch {args.batch}, {args.threads} thread(s), {args.device}'
    print(AsciiTable(lines, title).table)


def literal(text: str) -> Any:
    """A number, list or None as Python writes it; anything else as text."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--shape', type=int, nargs=2, action='append', required=True, metavar=('H', 'W')
    )
    parser.add_argument('--option', help='key path, such as model.neck.kv_stride')
    parser.add_argument('--values', nargs='+', type=literal, help='values of --option')
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--steps', type=int, default=3)
    parser.add_argument('--warmup', type=int, default=1)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--amp', action='store_true', help='bf16 autocast')
    parser.add_argument('--inference', action='store_true')
    parser.add_argument('--no-memory', action='store_true')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    args = parser.parse_args(argv)
    if bool(args.option) != bool(args.values):
        parser.error('--option and --values come together')
    return guard(lambda: run(args), debug=args.debug)


if __name__ == '__main__':
    sys.exit(main())
