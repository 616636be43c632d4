"""What an exported network or a published checkpoint holds and says of itself.

::

    python tools/deployment/inspect_model.py model.onnx
"""

import argparse
import json
import sys

from mmdense.deployment.inspection import inspect_file, summary
from mmdense.engine.launch import guard
from mmdense.utils.command_line import ToolParser


def run(args: argparse.Namespace) -> None:
    """Print the table, or everything as JSON."""
    print(json.dumps(inspect_file(args.file), indent=2) if args.json else summary(args.file))


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('file', help='.onnx, .pt2, .pth or .safetensors')
    parser.add_argument('--json', action='store_true', help='print JSON, with everything')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    args = parser.parse_args(argv)
    return guard(lambda: run(args), debug=args.debug)


if __name__ == '__main__':
    sys.exit(main())
