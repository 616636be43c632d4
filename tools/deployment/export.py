r"""Export a model to one ONNX or ``torch.export`` file, and compare it with PyTorch.

::

    python tools/deployment/export.py mtl_r18-thin_1xb8-600_rooms-96x128 \
        work_dirs/mtl_r18-thin_1xb8-600_rooms-96x128/iter_600.pth \
        --out model.onnx --shape 96 128

``--dynamic batch`` (the default) leaves the number of pictures free, ``--dynamic batch,size`` the
size as well, as far as the model allows; ``--dynamic none`` fixes both.
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import DictAction

from mmdense.deployment.export_config import ExportOrder, export_config
from mmdense.deployment.exporting import DYNAMIC, FORMATS, OPSET
from mmdense.deployment.parity import TOLERANCE
from mmdense.deployment.wrapper import OUTPUTS
from mmdense.engine.launch import guard
from mmdense.utils.command_line import ToolParser


def dynamic(text: str) -> tuple[str, ...]:
    """``batch,size`` as a tuple; ``none`` is empty."""
    names = tuple(name.strip() for name in text.split(',') if name.strip() not in ('', 'none'))
    unknown = [name for name in names if name not in DYNAMIC]
    if unknown:
        raise argparse.ArgumentTypeError(f'{unknown[0]!r}: choose of {", ".join(DYNAMIC)}, none')
    return names


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(__doc__)
    parser.add_argument('config', help='config file, or its name')
    parser.add_argument('checkpoint', nargs='?', help='weights; without: random ones')
    parser.add_argument('--format', choices=FORMATS, help='default: by the suffix of --out')
    parser.add_argument('--out', required=True, help='file to write: .onnx or .pt2')
    parser.add_argument(
        '--shape', type=int, nargs=2, metavar=('H', 'W'), help='default: as the config trains'
    )
    parser.add_argument(
        '--dynamic',
        type=dynamic,
        default=('batch',),
        metavar='NAMES',
        help='what is left free: batch, size, "batch,size" or none (default: batch)',
    )
    parser.add_argument(
        '--output', choices=OUTPUTS, default='maps', help='decoded maps (default), or logits'
    )
    parser.add_argument('--opset', type=int, default=OPSET, help='of ONNX (default: %(default)s)')
    parser.add_argument(
        '--deform-conv',
        action='store_true',
        help='deformable convolutions as DeformConv nodes, not as GridSample',
    )
    parser.add_argument('--licence', help='of the weights; default: as the checkpoint says')
    parser.add_argument(
        '--tolerance',
        type=float,
        default=TOLERANCE,
        help='largest relative difference that passes (default: %(default)s)',
    )
    parser.add_argument('--no-check', action='store_true', help='do not compare with PyTorch')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Export, compare, and say what was written."""
    order = ExportOrder(
        config=args.config,
        checkpoint=args.checkpoint,
        out=Path(args.out),
        form=args.format,
        shape=None if args.shape is None else (args.shape[0], args.shape[1]),
        dynamic=args.dynamic,
        output=args.output,
        opset=args.opset,
        deform_conv=args.deform_conv,
        licence=args.licence,
        cfg_options=args.cfg_options,
    )
    print(export_config(order, None if args.no_check else args.tolerance))


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    args = parse_args(argv)
    return guard(lambda: run(args), debug=args.debug)


if __name__ == '__main__':
    sys.exit(main())
