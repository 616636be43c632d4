r"""Test a checkpoint: its numbers, and pictures of what it predicts.

::

    python tools/test.py configs/baselines/mtl_r18-thin_1xb8-600_rooms-96x128.py \
        work_dirs/mtl_r18-thin_1xb8-600_rooms-96x128/iter_600.pth --show-dir pictures
"""

import argparse
import os

# Data workers share the cores with OpenMP's threads, and an idle thread that spins takes a
# core from them: 8 times slower steps on two cores. Read when torch loads, so set first.
os.environ.setdefault('GOMP_SPINCOUNT', '10000')

from mmengine.config import DictAction

from mmdense.engine.distributed import LAUNCHERS, end_process
from mmdense.engine.evaluate import test
from mmdense.engine.launch import guard
from mmdense.utils.command_line import ToolParser


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file or address')
    parser.add_argument(
        '--work-dir', help='for logs and results (default: work_dirs/<config name>)'
    )
    parser.add_argument(
        '--out',
        metavar='FILE',
        help='.json: numbers with their protocols; .pkl: every prediction',
    )
    parser.add_argument('--show-dir', metavar='FOLDER', help='save one panel per picture there')
    parser.add_argument(
        '--pred-dir',
        metavar='FOLDER',
        help='save every predicted map there, for evaluate_files.py and other codes',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override config entries, for example test_dataloader.batch_size=4',
    )
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS)
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Test and return the exit code."""
    args = parse_args(argv)
    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return guard(
        lambda: test(
            args.config,
            args.checkpoint,
            work_dir=args.work_dir,
            cfg_options=args.cfg_options,
            out=args.out,
            show_dir=args.show_dir,
            pred_dir=args.pred_dir,
            launcher=args.launcher,
        ),
        debug=args.debug,
    )


if __name__ == '__main__':
    end_process(main())
