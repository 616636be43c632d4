"""Command-line options of tools that predict: which model, and how it looks at pictures."""

from __future__ import annotations

import argparse
from typing import Any

from .inferencer import DenseInferencer


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """What demos ask about the model."""
    parser.add_argument('config', help='path or name of a config')
    parser.add_argument('checkpoint', help='.pth or .safetensors')
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (default: a GPU if there is one)')
    parser.add_argument('--mode', choices=('whole', 'slide'), help='slide: look through windows')
    parser.add_argument(
        '--crop-size', nargs=2, type=int, metavar=('H', 'W'), help='windows of --mode slide'
    )
    parser.add_argument(
        '--stride', nargs=2, type=int, metavar=('H', 'W'), help='their steps (two thirds of them)'
    )
    parser.add_argument('--flip', action='store_true', help='average with the mirrored picture')
    parser.add_argument('--no-progress', action='store_true', help='draw no progress bar')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')


def model_of(args: argparse.Namespace) -> DenseInferencer:
    """The inferencer that the command line asks for."""
    return DenseInferencer(args.config, args.checkpoint, device=args.device, show_progress=False)


def looks_of(args: argparse.Namespace) -> dict[str, Any]:
    """How pictures are looked at."""
    pairs = dict(crop_size=args.crop_size, stride=args.stride)
    sizes = {key: None if pair is None else tuple(pair) for key, pair in pairs.items()}
    return dict(mode=args.mode, flip=args.flip or None, **sizes)
