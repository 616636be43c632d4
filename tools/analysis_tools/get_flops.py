r"""Parameters and multiply-adds (MACs) of a config, by part.

::

    python tools/analysis_tools/get_flops.py \
        configs/baselines/mtl_r18-thin_1xb8-600_rooms-96x128.py --shape 96 128
"""

import argparse
import dataclasses
import json
import sys

from mmengine.config import DictAction
from terminaltables import AsciiTable

from mmdense.apis.complexity import Complexity, measure_complexity
from mmdense.apis.model_parts import input_size
from mmdense.engine.launch import guard, load_config
from mmdense.utils.command_line import ToolParser
from mmdense.utils.config_check import require_valid_config


def table(rows: list[Complexity], shape: tuple[int, int]) -> str:
    """The rows as people read them."""
    lines = [[row.part, f'{row.parameters / 1e6:.3f} M', f'{row.macs / 1e9:.3f} G'] for row in rows]
    title = f'one picture of {shape[0]} x {shape[1]} (H x W), forward'
    return AsciiTable([['part', 'parameters', 'MACs'], *lines], title).table


def run(args: argparse.Namespace) -> None:
    """Count and print."""
    cfg = load_config(args.config, args.cfg_options)
    require_valid_config(cfg, args.config)
    shape = tuple(args.shape) if args.shape else input_size(cfg)
    rows = measure_complexity(cfg, shape)
    if args.json:
        print(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
    else:
        print(table(rows, shape))
        print('MACs: convolutions, matrix products and attention. FLOPs are about twice that.')


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--shape', type=int, nargs=2, metavar=('H', 'W'), help='input size')
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    args = parser.parse_args(argv)
    return guard(lambda: run(args), debug=args.debug)


if __name__ == '__main__':
    sys.exit(main())
