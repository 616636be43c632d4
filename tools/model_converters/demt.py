r"""Turn a released DeMT checkpoint into one of mmdense.

::

    python tools/model_converters/demt.py \
        configs/demt/demt_hrnet18_8xb1-40k_nyud-425x560_released.py \
        released.pth checkpoints/demt.pth
"""

import argparse
import sys

from mmdense.apis.convert_release import convert_release
from mmdense.engine.launch import guard
from mmdense.models.utils import load_demt_release
from mmdense.utils.command_line import ToolParser


def convert(args: argparse.Namespace) -> None:
    """Load the release into the model of the config, and write its weights."""
    report = convert_release(
        args.config,
        args.source,
        args.target,
        lambda model, source: load_demt_release(model, source, args.tasks),
    )
    print(f'{args.target}: {report.counts()}')


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('config', help='config of the same model, with released=True')
    parser.add_argument('source', help='released checkpoint')
    parser.add_argument('target', help='file to write')
    parser.add_argument(
        '--tasks', nargs='+', help='tasks by their number in the release; default: as stored'
    )
    args = parser.parse_args(argv)
    return guard(lambda: convert(args))


if __name__ == '__main__':
    sys.exit(main())
