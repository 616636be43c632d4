r"""Train a config; logs and checkpoints go to ``work_dirs/``.

::

    python tools/train.py \
        configs/polymax/polymax_convnext-atto_1xb8-quickstart_rooms-96x128.py
    python tools/train.py configs/baselines/mtl_r18-thin_1xb8-600_rooms-96x128.py \
        --work-dir work_dirs/fast --seed 1 --cfg-options optim_wrapper.optimizer.lr=1e-4
    python tools/train.py configs/baselines/mtl_r18-thin_1xb8-600_rooms-96x128.py --resume
"""

import argparse
import os

# Data workers share the cores with OpenMP's threads, and an idle thread that spins takes a
# core from them: 8 times slower steps on two cores. Read when torch loads, so set first.
os.environ.setdefault('GOMP_SPINCOUNT', '10000')

from mmengine.config import DictAction

from mmdense.engine.distributed import LAUNCHERS, end_process
from mmdense.engine.launch import guard, train
from mmdense.engine.log_targets import LOG_TARGETS
from mmdense.utils.command_line import ToolParser


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir', help='for logs and checkpoints (default: work_dirs/<config name>)'
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on with the latest checkpoint of the work directory, or with the one named',
    )
    parser.add_argument('--load-from', metavar='CHECKPOINT', help='start from these weights')
    parser.add_argument('--amp', action='store_true', help='mixed precision on the GPU')
    parser.add_argument(
        '--amp-dtype',
        choices=('bfloat16', 'float16'),
        default='bfloat16',
        help='type of the mixed precision (default: %(default)s)',
    )
    parser.add_argument('--seed', type=int, help='random seed (default: as in the config)')
    parser.add_argument(
        '--log-to',
        nargs='+',
        choices=tuple(LOG_TARGETS),
        default=[],
        help='send numbers and panels there too',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override config entries, for example optim_wrapper.optimizer.lr=1e-4',
    )
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='job launcher')
    # Older launchers pass the rank as an argument instead of a variable.
    parser.add_argument('--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS)
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Train and return the exit code."""
    args = parse_args(argv)
    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return guard(
        lambda: train(
            args.config,
            work_dir=args.work_dir,
            cfg_options=args.cfg_options,
            resume=args.resume,
            load_from=args.load_from,
            amp=args.amp,
            amp_dtype=args.amp_dtype,
            seed=args.seed,
            launcher=args.launcher,
            log_targets=args.log_to,
        ),
        debug=args.debug,
    )


if __name__ == '__main__':
    end_process(main())
