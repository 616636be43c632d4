r"""Speed of a training loader, and where its time goes.

::

    python tools/analysis_tools/loader_benchmark.py \
        configs/baselines/mtl_r18-thin_1xb8-600_rooms-96x128.py --workers 0 2
    python tools/analysis_tools/loader_benchmark.py --layout nyud --packaging npy

With ``--layout`` in place of a config: pictures of procedural rooms in the layout of NYUD-v2, with
the transforms of ATRC or of another ``--pipeline``.
"""

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path

import cv2
import torch
from mmengine.config import Config, DictAction
from terminaltables import AsciiTable

from mmdense.apis.benchmark import Row, Settings, measure_loader
from mmdense.apis.loader_profile import StepTime, profile_loader
from mmdense.datasets.sources import RoomsSource
from mmdense.datasets.writers import NYUDWriter
from mmdense.datasets.writers.convert import convert
from mmdense.engine.launch import guard, load_config
from mmdense.utils.command_line import ToolParser
from mmdense.utils.config_check import ConfigError, require_valid_config

CONFIGS = Path(__file__).parents[2] / 'configs'
TASKS = dict(
    semseg=dict(type='SemSeg', num_classes=40),
    depth=dict(type='Depth'),
    normal=dict(type='Normal'),
    boundary=dict(type='Boundary'),
)


def layout_config(root: Path, pipeline: str, size: tuple[int, int], batch_size: int) -> Config:
    """A config with nothing but the training loader."""
    known = {
        path.stem: Config.fromfile(path) for path in (CONFIGS / '_base_/pipelines').glob('*.py')
    }
    known = {name: cfg for name, cfg in known.items() if 'nyud_train_pipeline' in cfg}
    if pipeline not in known:
        raise ConfigError(f'--pipeline {pipeline}: choose one of {", ".join(sorted(known))}.')
    steps = known[pipeline].nyud_train_pipeline
    for step in steps:
        if 'size' in step:
            step['size'] = size
    dataset = dict(type='NYUDv2Dataset', data_root=str(root), tasks=TASKS, pipeline=steps)
    loader = dict(
        batch_size=batch_size,
        num_workers=0,
        sampler=dict(type='SeededInfiniteSampler', shuffle=True),
        dataset=dataset,
    )
    return Config(dict(default_scope='mmdense', train_dataloader=loader))


def table(steps: list[StepTime], rows: list[Row]) -> str:
    """The measurements as people read them."""
    cpu, wall = sum(step.cpu_ms for step in steps), sum(step.wall_ms for step in steps)
    lines = [['ms per picture', 'CPU', 'share', 'wall']]
    lines += [
        [s.step, f'{s.cpu_ms:.2f}', f'{100 * s.share:.0f} %', f'{s.wall_ms:.2f}'] for s in steps
    ]
    lines.append(['sum', f'{cpu:.2f}', '', f'{wall:.2f}'])
    lines.append(['pictures/s and core', f'{1000 / cpu:.1f}', '', f'{1000 / wall:.1f}'])
    speeds = [['loader', 'pictures/s', 'note']]
    for row in rows:
        rate = '-' if row.images_per_second is None else f'{row.images_per_second:.1f}'
        speeds.append([row.part, rate, row.note])
    return AsciiTable(lines).table + ('\n' + AsciiTable(speeds).table if rows else '')


def measure(args: argparse.Namespace, cfg: Config) -> None:
    """Measure and print."""
    # One core: OpenCV and torch start threads of their own otherwise.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    batch_size = args.batch_size or cfg.train_dataloader.batch_size
    steps = profile_loader(cfg, args.pictures, batch_size)
    settings = Settings(
        shape=(0, 0), batch_size=batch_size, steps=max(args.pictures // batch_size, 1), warmup=1
    )
    rows = [measure_loader(cfg, settings, count) for count in args.workers]
    if args.json:
        found = dict(
            steps=[dataclasses.asdict(step) for step in steps],
            loaders=[dataclasses.asdict(row) for row in rows],
        )
        print(json.dumps(found, indent=2))
        return
    print(
        f'{args.pictures} pictures, batch {batch_size}, one thread per process, {os.cpu_count()} '
        f'cores, files in the page cache, OpenCV {cv2.__version__}'
    )
    print(table(steps, rows))


def run(args: argparse.Namespace) -> None:
    """Take the loader from the config, or make one."""
    if (args.config is None) == (args.layout is None):
        raise ConfigError('Give a config file, or --layout nyud for a generated data set.')
    if args.config is not None:
        cfg = load_config(args.config, args.cfg_options)
        require_valid_config(cfg, args.config)
        measure(args, cfg)
        return
    size = tuple(args.size)
    if min(size) < 8:
        raise ConfigError(f'--size {size[0]} {size[1]}: rooms have at least 8 pixels a side.')
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(args.root or temporary)
        source = RoomsSource('nyud', dict(train=args.images), size)
        convert(source, NYUDWriter(root, args.packaging))
        measure(args, layout_config(root, args.pipeline, size, args.batch_size or 4))


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('config', nargs='?', help='config file with a train_dataloader')
    parser.add_argument('--pictures', type=int, default=100, help='to load (default: 100)')
    parser.add_argument('--batch-size', type=int, help="default: the config's; 4 with --layout")
    parser.add_argument(
        '--workers',
        type=int,
        nargs='*',
        default=[],
        metavar='N',
        help='also measure the loader with so many processes, for example 1 2',
    )
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    made = parser.add_argument_group('instead of a config')
    made.add_argument('--layout', choices=['nyud'], help='generate rooms in this layout')
    made.add_argument('--packaging', choices=['png', 'npy'], default='png')
    made.add_argument('--size', type=int, nargs=2, default=(480, 640), metavar=('H', 'W'))
    made.add_argument('--pipeline', default='atrc', help='of configs/_base_/pipelines')
    made.add_argument('--images', type=int, default=24, help='to generate (default: 24)')
    made.add_argument('--root', help='folder to keep them in (default: a temporary one)')
    args = parser.parse_args(argv)
    return guard(lambda: run(args), debug=args.debug)


if __name__ == '__main__':
    sys.exit(main())
