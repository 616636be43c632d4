r"""Turn a Mask2Former of mmsegmentation or mmdetection into a start for MT-CP.

::

    python tools/model_converters/mask2former.py \
        configs/mtcp/mtcp_mask2former-swin-s_1xb2-100e_nyud-480x640.py \
        mask2former.pth checkpoints/mtcp.pth

The configs read such files by themselves (``init_cfg``). This writes what they would take, in the
names of the model, for machines without a network: ``train.py ... --cfg-options
load_from=checkpoints/x.pth default_hooks.load_report.max_missing=1
model.backbone.init_cfg=None model.neck.embedding.init_cfg=None``.
"""

import argparse
import io
import sys

import torch

from mmdense.apis.model_parts import build_model
from mmdense.engine.launch import guard, load_config
from mmdense.models.necks import Mask2FormerEmbedding
from mmdense.models.utils import load_pretrained
from mmdense.utils.checkpoints import require_checkpoint
from mmdense.utils.command_line import ToolParser
from mmdense.utils.config_check import ConfigError
from mmdense.utils.files import atomic_write_bytes


def convert(args: argparse.Namespace) -> None:
    """Load backbone and embedding of the config from the file, all of them, and write them."""
    require_checkpoint(args.source, 'source')
    model = build_model(load_config(args.config, check=('model',)), 'cpu')
    found = [(n, m) for n, m in model.named_modules() if isinstance(m, Mask2FormerEmbedding)]
    if len(found) != 1:
        raise ConfigError(
            f'{args.config}: its model has {len(found)} parts of type Mask2FormerEmbedding; '
            'expected one. Name a config of MT-CP with Mask2Former.'
        )
    name, embedding = found[0]
    for part, prefix in ((model.backbone, 'backbone.'), (embedding, 'decode_head.')):
        report = load_pretrained(part, args.source, prefix, part.convert_keys)
        print(f'{type(part).__name__}: {report.counts()}')
    wanted = ('backbone.', f'{name}.')
    weights = {k: v for k, v in model.state_dict().items() if k.startswith(wanted)}
    buffer = io.BytesIO()
    torch.save(dict(state_dict=weights), buffer)
    atomic_write_bytes(args.target, buffer.getvalue())
    print(f'{args.target}: {len(weights)} entries')


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('config', help='config of MT-CP with Mask2Former')
    parser.add_argument('source', help='checkpoint of mmsegmentation or mmdetection')
    parser.add_argument('target', help='file to write')
    args = parser.parse_args(argv)
    return guard(lambda: convert(args))


if __name__ == '__main__':
    sys.exit(main())
