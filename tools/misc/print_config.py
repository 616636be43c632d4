r"""Print a config with all it inherits.

::

    python tools/misc/print_config.py configs/baselines/mtl_r18-thin_1xb8-600_rooms-96x128.py \
        --key model.heads.depth
    python tools/misc/print_config.py configs/baselines/mtl_r18-thin_1xb8-600_rooms-96x128.py \
        --check --cfg-options model.backbone.depth=34
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import DictAction

from mmdense.engine.launch import guard, load_config
from mmdense.utils.command_line import ToolParser
from mmdense.utils.config_check import ConfigError, check_config
from mmdense.utils.files import atomic_write_text
from mmdense.utils.user_errors import places


def run(args: argparse.Namespace) -> None:
    """Print, save or check a config."""
    cfg = load_config(args.config, args.cfg_options)
    if args.key is None:
        text = cfg.pretty_text
    else:
        found = dict(places(cfg))
        if args.key not in found:
            raise ConfigError(f'{args.config} has no entry {args.key}.')
        text = str(found[args.key])
    if args.save_path is not None:
        atomic_write_text(Path(args.save_path), text + '\n')
    else:
        print(text)
    if args.check:
        problems = check_config(cfg)
        if problems:
            raise ConfigError('\n'.join(map(str, problems)))


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--key', help='only this entry, for example model.heads.depth')
    parser.add_argument('--save-path', metavar='FILE', help='write it there instead')
    parser.add_argument('--check', action='store_true', help='report names nothing answers to')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE')
    args = parser.parse_args(argv)
    return guard(lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
