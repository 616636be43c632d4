r"""Strip a checkpoint, state what it is, and name it after its SHA-256.

::

    python tools/model_converters/publish_model.py \
        work_dirs/quickstart/iter_900.pth published/quickstart.pth --licence CC-BY-4.0

The file loads with ``torch.load(file, weights_only=True)``, or, with ``--format safetensors``,
with that library. ``python tools/deployment/inspect_model.py FILE`` prints what it says of itself.
"""

import argparse
import hashlib
import sys
from pathlib import Path

from mmdense.apis.publish import FORMATS, publish
from mmdense.engine.launch import guard
from mmdense.utils.command_line import ToolParser


def run(args: argparse.Namespace) -> None:
    """Publish and say what was written."""
    suffix = Path(args.target).suffix.removeprefix('.')
    path = publish(
        args.source,
        args.target,
        keep_meta=not args.no_meta,
        form=args.format or (suffix if suffix in FORMATS else 'pth'),
        licence=args.licence,
        results=args.results,
    )
    print(path)
    print(f'{path.stat().st_size / 2**20:.1f} MiB, SHA-256 {_sha256(path)}')


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('source', help='checkpoint of a training')
    parser.add_argument('target', help='file to write; digits of its SHA-256 are added')
    parser.add_argument(
        '--format', choices=FORMATS, help='default: by the suffix of the target, else pth'
    )
    parser.add_argument(
        '--licence', metavar='NAME', help='licence of the weights (SPDX name); default: not stated'
    )
    parser.add_argument(
        '--results',
        metavar='JSON',
        help='metrics and protocols: results_val.json of the run, or what tools/test.py --out '
        'wrote (default: results_val.json beside the checkpoint, if of the same iteration)',
    )
    parser.add_argument('--no-meta', action='store_true', help='leave out the training record')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    args = parser.parse_args(argv)
    return guard(lambda: run(args), debug=args.debug)


if __name__ == '__main__':
    sys.exit(main())
