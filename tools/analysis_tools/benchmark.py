"""Speed and peak memory by part: ``python tools/analysis_tools/benchmark.py CONFIG``."""

import argparse
import dataclasses
import json
import sys

import torch
from mmengine.config import DictAction
from terminaltables import AsciiTable

from mmdense.apis.benchmark import Row, Settings, benchmark
from mmdense.apis.model_parts import input_size
from mmdense.engine.launch import guard, load_config
from mmdense.utils.config_check import require_valid_config


def protocol(settings: Settings) -> str:
    """How was measured, in one line."""
    device = settings.device
    if device.startswith('cuda'):
        device = torch.cuda.get_device_name(torch.device(device))
    else:
        device = f'{device}, {torch.get_num_threads()} threads'
    height, width = settings.shape
    precision = 'bf16' if settings.amp else 'fp32'
    return (
        f'batch {settings.batch_size}, {height} x {width} (H x W), {precision}, {device}, torch '
        f'{torch.__version__}, median of {settings.steps} steps'
    )


def table(rows: list[Row]) -> str:
    """The rows as people read them."""
    lines = [['', 'part', 'ms', 'images/s', 'peak MiB']]
    last = ''
    for row in rows:
        numbers = [row.note or '-', '-', '-']
        if row.milliseconds is not None:
            peak = '' if row.peak_mib is None else f'{row.peak_mib:.0f}'
            numbers = [f'{row.milliseconds:.2f}', f'{row.images_per_second:.2f}', peak]
        lines.append([row.what if row.what != last else '', row.part, *numbers])
        last = row.what
    return AsciiTable(lines).table


def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    cfg = load_config(args.config, args.cfg_options)
    require_valid_config(cfg, args.config)
    settings = Settings(
        shape=tuple(args.shape) if args.shape else input_size(cfg),
        device=args.device,
        batch_size=args.batch_size or cfg.train_dataloader.batch_size,
        steps=args.steps,
        warmup=args.warmup,
        amp=args.amp,
        workers=tuple(args.workers),
        train=not args.no_train,
        memory=not args.no_memory,
    )
    rows = benchmark(cfg, settings)
    if args.json:
        found = dict(
            config=args.config,
            protocol=protocol(settings),
            settings=dataclasses.asdict(settings),
            rows=[dataclasses.asdict(row) for row in rows],
        )
        print(json.dumps(found, indent=2))
        return
    print(protocol(settings))
    print(table(rows))
    if settings.memory:
        print(
            'peak: '
            + (
                "torch's max_memory_allocated."
                if settings.device.startswith('cuda')
                else 'rise of the peak resident memory of a process of its own.'
            )
        )


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = argparse.ArgumentParser(description='Speed and peak memory of a config, by part.')
    parser.add_argument('config', help='config file')
    parser.add_argument('--shape', type=int, nargs=2, metavar=('H', 'W'), help='input size')
    default = 'cuda' if torch.cuda.is_available() else 'cpu'
    parser.add_argument('--device', default=default, help='default here: %(default)s')
    parser.add_argument('--batch-size', type=int, help="default: the training loader's")
    parser.add_argument('--steps', type=int, default=10, help='timed steps (default: 10)')
    parser.add_argument('--warmup', type=int, default=3, help='steps before them (default: 3)')
    parser.add_argument('--amp', action='store_true', help='bf16 autocast')
    parser.add_argument(
        '--workers',
        type=int,
        nargs='*',
        default=[],
        metavar='N',
        help='also measure the training loader with so many processes, for example 0 2 4',
    )
    parser.add_argument('--no-train', action='store_true', help='inference only')
    parser.add_argument('--no-memory', action='store_true', help='leave peak memory out')
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    args = parser.parse_args(argv)
    return guard(lambda: run(args), debug=args.debug)


if __name__ == '__main__':
    sys.exit(main())
