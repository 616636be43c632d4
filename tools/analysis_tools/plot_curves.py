r"""Draw the training curves of runs: losses and headlines per task, weights, gradients.

Example::

    python tools/analysis_tools/plot_curves.py work_dirs/ctal_seed0 work_dirs/ctal_seed1 \
        mtl=work_dirs/baseline --out curves.png

Runs of one name (by default that of the folder without its seed) are drawn as mean and range.
"""

import argparse
import sys

from mmdense.apis.curves import load_curves, make_panels
from mmdense.engine.launch import guard
from mmdense.visualization.curves import draw_panels


def run(args: argparse.Namespace) -> None:
    """Read, draw, and say where the picture is."""
    runs = [load_curves(text) for text in args.runs]
    panels = make_panels(runs, args.metrics, args.keys)
    path = draw_panels(panels, args.out, args.columns)
    for one in runs:
        last = max((int(steps[-1]) for steps, _ in one.training.values()), default=0)
        print(f'{one.name}: {one.path}, {last} iterations, tasks {", ".join(one.tasks) or "-"}')
    print(path)


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'runs', nargs='+', metavar='[NAME=]RUN', help='work directory, or its vis_data/scalars.json'
    )
    parser.add_argument('--out', default='curves.png', help='default: %(default)s')
    parser.add_argument(
        '--metrics',
        nargs='+',
        default=[],
        metavar='NAME',
        help='validation numbers such as depth/abs_rel, in place of the headlines',
    )
    parser.add_argument(
        '--keys',
        nargs='+',
        default=[],
        metavar='REGEX',
        help='one more panel for every logged name that fits, for example ^time$ loss_aux',
    )
    parser.add_argument('--columns', type=int, default=2, help='default: %(default)s')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    args = parser.parse_args(argv)
    return guard(lambda: run(args), debug=args.debug)


if __name__ == '__main__':
    sys.exit(main())
