r"""Strip a checkpoint and name it after its SHA-256.

::

    python tools/model_converters/publish_model.py \
        work_dirs/quickstart/iter_2000.pth published/quickstart.pth
"""

import sys

from mmdense.apis.publish import publish
from mmdense.engine.launch import guard
from mmdense.utils.command_line import ToolParser


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('source', help='checkpoint of a training')
    parser.add_argument('target', help='file to write; digits of its SHA-256 are added')
    parser.add_argument('--no-meta', action='store_true', help='leave out the training record')
    args = parser.parse_args(argv)
    return guard(lambda: print(publish(args.source, args.target, keep_meta=not args.no_meta)))


if __name__ == '__main__':
    sys.exit(main())
