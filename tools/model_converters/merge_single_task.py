r"""Make the start of a Cross-Stitch or NDDR-CNN model out of trained single-task models.

::

    python tools/model_converters/merge_single_task.py \
        configs/cross-stitch/cross-stitch_r50_1xb8-4950_nyud-480x640.py checkpoints/start.pth \
        semseg=work_dirs/stl_semseg/iter_9900.pth depth=work_dirs/stl_depth/iter_9900.pth

Training then starts from the written file with ``--cfg-options load_from=checkpoints/start.pth``.
"""

import argparse
import io
import sys

import torch

from mmdense.apis.model_parts import build_model
from mmdense.engine.launch import guard, load_config
from mmdense.models.utils import merge_single_task
from mmdense.utils.checkpoints import require_checkpoint
from mmdense.utils.command_line import ToolParser
from mmdense.utils.config_check import ConfigError
from mmdense.utils.files import atomic_write_bytes


def checkpoints_of(pairs: list[str]) -> dict[str, str]:
    """``task=path`` pairs as a dictionary."""
    found: dict[str, str] = {}
    for pair in pairs:
        task, given, path = pair.partition('=')
        if not given or not task or task in found:
            raise ConfigError(f"'{pair}': give one TASK=CHECKPOINT for each task.")
        require_checkpoint(path, task)
        found[task] = path
    return found


def convert(args: argparse.Namespace) -> None:
    """Merge the checkpoints, and write what they and the layers between the networks hold."""
    checkpoints = checkpoints_of(args.checkpoints)
    model = build_model(load_config(args.config, check=('model',)), 'cpu')
    try:
        reports = merge_single_task(model, checkpoints)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    # Parts that no checkpoint fills keep the initialisation of the run that loads the file.
    weights = {
        name: value
        for name, value in model.state_dict().items()
        if name.startswith(('backbone.', 'heads.'))
    }
    buffer = io.BytesIO()
    torch.save(dict(state_dict=weights), buffer)
    atomic_write_bytes(args.target, buffer.getvalue())
    for task, report in reports.items():
        print(f'{task}: {report.counts()}')
    taken = sum(len(report.matched) for report in reports.values())
    print(f'{args.target}: {taken} keys from checkpoints, {len(weights) - taken} initialised')


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('config', help='config of the model with a network per task')
    parser.add_argument('target', help='file to write')
    parser.add_argument(
        'checkpoints', nargs='+', metavar='TASK=CHECKPOINT', help='one for each task of the config'
    )
    args = parser.parse_args(argv)
    return guard(lambda: convert(args))


if __name__ == '__main__':
    sys.exit(main())
