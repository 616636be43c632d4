"""Turn a released DeMT checkpoint into one of mmdense.

``python tools/model_converters/demt.py configs/demt/x_released.py released.pth checkpoints/x.pth``
"""

import argparse
import io
import sys

import torch
from mmengine.config import Config

from mmdense.apis.model_parts import build_model
from mmdense.engine.launch import guard
from mmdense.models.utils import load_demt_release
from mmdense.utils.checkpoints import require_checkpoint
from mmdense.utils.files import atomic_write_bytes


def convert(args: argparse.Namespace) -> None:
    """Load the release into the model of the config, and write its weights."""
    require_checkpoint(args.source, 'source')
    model = build_model(Config.fromfile(args.config), 'cpu')
    report = load_demt_release(model, args.source, args.tasks)
    buffer = io.BytesIO()
    torch.save(dict(state_dict=model.state_dict()), buffer)
    atomic_write_bytes(args.target, buffer.getvalue())
    print(f'{args.target}: {report.counts()}')


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = argparse.ArgumentParser(description='Rename the weights of a released DeMT.')
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
