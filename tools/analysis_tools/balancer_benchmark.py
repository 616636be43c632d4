r"""Step time and peak memory of every loss balancer and gradient aggregator on one model.

All numbers stand beside those of ``FixedWeights``::

    python tools/analysis_tools/balancer_benchmark.py \
        configs/baselines/mtl_r18-thin_1xb8-600_rooms-96x128.py
    python tools/analysis_tools/balancer_benchmark.py \
        configs/baselines/mtl_r18-thin_1xb8-600_rooms-96x128.py --methods FixedWeights UPGrad
"""

import argparse
import dataclasses
import json
import sys

import torch
from mmengine.config import DictAction
from terminaltables import AsciiTable, GithubFlavoredMarkdownTable

from mmdense.apis.balancer_benchmark import AGGREGATORS, BALANCERS, MethodRow, benchmark_methods
from mmdense.apis.benchmark import Settings
from mmdense.apis.model_parts import input_size
from mmdense.engine.launch import guard, load_config
from mmdense.utils.command_line import ToolParser
from mmdense.utils.config_check import require_valid_config


def cells(value: float | None, base: float | None) -> list[str]:
    """A number and its ratio to the base."""
    if value is None:
        return ['-', '-']
    return [f'{value:.0f}', f'{value / base:.2f}' if base else '-']


def table(rows: list[MethodRow]) -> list[list[str]]:
    """The rows as people read them."""
    base = next((row for row in rows if row.name == 'FixedWeights'), MethodRow('', ''))
    lines = [['method', 'kind', 'ms', 'x', 'peak MiB', 'x']]
    for row in rows:
        time, memory = (
            cells(row.milliseconds, base.milliseconds),
            cells(row.peak_mib, base.peak_mib),
        )
        lines.append([row.name, row.kind, *time, *memory])
    return lines


def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    torch.set_num_threads(args.threads)
    cfg = load_config(args.config, args.cfg_options)
    require_valid_config(cfg, args.config)
    settings = Settings(
        shape=tuple(args.shape) if args.shape else input_size(cfg),
        device=args.device,
        batch_size=args.batch_size,
        steps=args.steps,
        warmup=args.warmup,
        memory=not args.no_memory,
    )
    rows = benchmark_methods(cfg, args.methods, args.shared, settings)
    height, width = settings.shape
    title = (
        f'{args.config}: {len(cfg.model.tasks)} tasks, batch {settings.batch_size}, {height} x '
        f'{width}, {args.device}, {args.threads} thread(s), torch {torch.__version__}, median of '
        f'{settings.steps} steps; shared: {", ".join(args.shared)}'
    )
    if args.json:
        found = dict(protocol=title, rows=[dataclasses.asdict(row) for row in rows])
        print(json.dumps(found, indent=2))
        return
    print(title)
    kind = GithubFlavoredMarkdownTable if args.markdown else AsciiTable
    print(kind(table(rows)).table)
    for row in rows:
        if row.note:
            print(f'{row.name}: {row.note}')


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('config', help='config file of a multi-task model')
    known = [*BALANCERS, *AGGREGATORS]
    parser.add_argument('--methods', nargs='+', default=known, metavar='NAME', help='default: all')
    default = [r'^backbone\.']
    parser.add_argument('--shared', nargs='+', default=default, help='patterns, for aggregators')
    parser.add_argument('--shape', type=int, nargs=2, metavar=('H', 'W'), help='input size')
    parser.add_argument('--batch-size', type=int, default=2, help='default: 2')
    parser.add_argument('--steps', type=int, default=5, help='timed steps (default: 5)')
    parser.add_argument('--warmup', type=int, default=1, help='steps before them (default: 1)')
    parser.add_argument('--threads', type=int, default=1, help='default: 1')
    parser.add_argument('--device', default='cpu', help='default: cpu')
    parser.add_argument('--no-memory', action='store_true', help='time only')
    parser.add_argument('--markdown', action='store_true', help='print a table for a page')
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    args = parser.parse_args(argv)
    return guard(lambda: run(args), debug=args.debug)


if __name__ == '__main__':
    sys.exit(main())
