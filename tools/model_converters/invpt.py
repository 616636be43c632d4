r"""Turn a released InvPT checkpoint into one of mmdense.

::

    python tools/model_converters/invpt.py \
        configs/invpt/invpt_vit-l_3xb2-40k_nyud-448x576.py released.pth checkpoints/invpt.pth
"""

import argparse
import sys

from mmdense.apis.convert_release import convert_release
from mmdense.engine.launch import guard
from mmdense.models.utils import load_invpt_release
from mmdense.utils.command_line import ToolParser


def convert(args: argparse.Namespace) -> None:
    """Load the release into the model of the config, and write its weights."""
    report = convert_release(
        args.config,
        args.source,
        args.target,
        lambda model, source: load_invpt_release(model, source, args.tasks, args.previous_first),
    )
    print(f'{args.target}: {report.counts()}')


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('config', help='config of the same model')
    parser.add_argument('source', help='released checkpoint')
    parser.add_argument('target', help='file to write')
    parser.add_argument(
        '--tasks', nargs='+', help='tasks by their number in the release; default: as in the config'
    )
    parser.add_argument(
        '--previous-first',
        action='store_true',
        help='the release stacks the scores of the previous scale ahead of those of its own',
    )
    args = parser.parse_args(argv)
    return guard(lambda: convert(args))


if __name__ == '__main__':
    sys.exit(main())
