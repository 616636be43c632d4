r"""Look at the pictures of a data set with all their ground truth, before and after the transforms.

Example::

    python tools/analysis_tools/browse_dataset.py \
        configs/baselines/mtl_r18-thin_1xb8-600_rooms-96x128_ctal.py --number 4 --draws 2

writes a panel per picture and the histograms of every task's values.
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import DictAction

from mmdense.apis.browse import MODES, SPLITS, browse_dataset
from mmdense.engine.launch import guard, load_config
from mmdense.utils.config_check import require_valid_config


def run(args: argparse.Namespace) -> None:
    """Draw, and say where the pictures are."""
    cfg = load_config(args.config, args.cfg_options)
    require_valid_config(cfg, args.config)
    found = browse_dataset(
        cfg,
        args.out_dir or Path('work_dirs') / 'browse' / Path(args.config).stem,
        split=args.split,
        number=args.number,
        indices=args.indices,
        mode=args.mode,
        draws=args.draws,
        seed=args.seed,
        histograms=args.histograms,
        show=True,
    )
    for path in (*found.pictures, *([found.histograms] if found.histograms else [])):
        print(path)
    for key, statistics in found.statistics.items():
        for when, counted in zip(('', ' (transformed)'), statistics):
            lines = counted.lines() if counted.known else ['no pixel is known']
            print(f'{key}{when}: {"; ".join(lines)}')
    for message in found.unreadable:
        print(f'unreadable: {message}', file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('--split', choices=SPLITS, default='train', help='default: %(default)s')
    parser.add_argument('--out-dir', help='default: work_dirs/browse/<config name>')
    parser.add_argument('--number', type=int, default=8, help='pictures (default: %(default)s)')
    parser.add_argument('--indices', type=int, nargs='+', metavar='I', help='these instead')
    parser.add_argument(
        '--mode',
        choices=MODES,
        default='concat',
        help='original: as read; transformed: after the pipeline; concat: both (default); '
        'pipeline: after every transform',
    )
    parser.add_argument(
        '--draws', type=int, default=1, help='runs of the random transforms (default: 1)'
    )
    parser.add_argument('--seed', type=int, default=0, help='of the transforms (default: 0)')
    parser.add_argument(
        '--histograms',
        type=int,
        default=100,
        metavar='N',
        help='pictures whose values are counted; 0: no histograms (default: %(default)s)',
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    args = parser.parse_args(argv)
    return guard(lambda: run(args), debug=args.debug)


if __name__ == '__main__':
    sys.exit(main())
