r"""Rank correlation of a triplane regularizer's third axis with depth, over the validation set.

::

    python tools/analysis_tools/triplane_depth.py \
        configs/triplane/triplane_r18-thin_1xb8-800_rooms-96x128.py \
        work_dirs/triplane_r18-thin_1xb8-800_rooms-96x128/iter_800.pth --out correlations.json

Spearman's coefficient of the expected depth of the rays with true depth, for the density of each
task, for the mean of their depths, and, as a control, for the height of a pixel in the picture:
the mean over pictures, and of the pixels of all pictures together. The axis has no fixed
direction, so a strong negative coefficient says as much as a positive one. Several checkpoints
are runs of several seeds: mean +- standard deviation (n - 1).
"""

import argparse
import dataclasses
import math
import sys
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.config import DictAction
from mmengine.utils import track_iter_progress
from terminaltables import AsciiTable

from mmdense.apis.triplane_depth import Correlation, measure_checkpoint, over_seeds
from mmdense.engine.launch import guard, load_config
from mmdense.utils.command_line import ToolParser
from mmdense.utils.files import atomic_write_json


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(__doc__)
    parser.add_argument('config', help='config file with a triplane regularizer')
    parser.add_argument('checkpoints', nargs='+', help='of trainings, not published ones')
    parser.add_argument('--split', choices=('val', 'test'), default='val')
    parser.add_argument('--regularizer', metavar='NAME', help='which, if there are several')
    parser.add_argument('--truth', default='depth', metavar='TASK', help='task of true depth')
    parser.add_argument(
        '--pooled-pixels', type=int, default=4096, metavar='N',
        help='most pixels of a picture that are pooled (default: 4096)',
    )  # fmt: skip
    default = 'cuda' if torch.cuda.is_available() else 'cpu'
    parser.add_argument('--device', default=default, help='default here: %(default)s')
    parser.add_argument('--out', metavar='FILE.json', help='write the coefficients there')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    return parser.parse_args(argv)


def table(runs: list[dict[str, Correlation]], names: list[str]) -> str:
    """One line per run and map, and the means over runs."""
    lines = [['run', 'map', 'per picture', 'pooled', 'opacity', 'pictures']]
    for name, run in zip(names, runs):
        for key, row in run.items():
            each = f'{_signed(row.per_picture)} +- {row.spread:.3f}'
            opacity = '-' if math.isnan(row.opacity) else f'{row.opacity:.3f}'
            lines.append([name, key, each, _signed(row.pooled), opacity, str(row.pictures)])
            name = ''
    if len(runs) > 1:
        label = f'mean of {len(runs)}'
        for key, found in over_seeds(runs).items():
            figures = ('per_picture', 'pooled')
            cells = [f'{_signed(found[f][0])} +- {found[f][1]:.3f}' for f in figures]
            mean, spread = found['opacity']
            opacity = '-' if math.isnan(mean) else f'{mean:.3f} +- {spread:.3f}'
            lines.append([label, key, *cells, opacity, ''])
            label = ''
    return AsciiTable(lines).table


def _signed(value: float) -> str:
    return '-' if math.isnan(value) else f'{value:+.3f}'


def _with_bar(loader: Any) -> Iterator[Any]:
    batches: Iterator[Any] = track_iter_progress((loader, len(loader)), file=sys.stderr)
    return batches


def run(args: argparse.Namespace) -> None:
    """Measure, print and write."""
    cfg = load_config(args.config, args.cfg_options)
    options = dict(regularizer=args.regularizer, truth=args.truth, pooled_pixels=args.pooled_pixels)
    runs = [
        measure_checkpoint(cfg, path, args.device, args.split, _with_bar, **options)
        for path in args.checkpoints
    ]
    print("\nSpearman's coefficient of expected with true depth, samples at the middles of bins,")
    print(f'at the size of the ground truth, {args.split} set; +- over pictures, then over runs.')
    print(table(runs, args.checkpoints))
    if args.out:
        found = dict(
            config=args.config,
            split=args.split,
            pooled_pixels=args.pooled_pixels,
            runs=[
                dict(
                    checkpoint=path,
                    maps={key: dataclasses.asdict(row) for key, row in run.items()},
                )
                for path, run in zip(args.checkpoints, runs)
            ],
            over_runs=over_seeds(runs),
        )
        atomic_write_json(args.out, found)
        print(args.out)


def main(argv: list[str] | None = None) -> int:
    """Measure and return the exit code."""
    args = parse_args(argv)
    return guard(lambda: run(args), debug=args.debug)


if __name__ == '__main__':
    sys.exit(main())
