"""What the commands of ``tools/dataset_converters`` share."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool

from mmdense.datasets.writers import LayoutWriter
from mmdense.datasets.writers.convert import Converted, Source, convert
from mmdense.engine.launch import guard
from mmdense.utils import DataError
from mmdense.utils.command_line import ToolParser

#: From the options to what is read and what writes it.
Build = Callable[[argparse.Namespace], tuple[Source, LayoutWriter]]
#: What remains to be done after the lists are written.
After = Callable[[argparse.Namespace], None]


def converter_parser(doc: str | None, out: str) -> argparse.ArgumentParser:
    """A parser with the options that all converters have.

    Args:
        doc (str | None): Docstring of the tool's module.
        out (str): Where the data set goes by default.
    """
    parser = ToolParser(doc)
    parser.add_argument('--out', default=out, help='folder of the data set (default: %(default)s)')
    parser.add_argument(
        '--workers', type=int, default=0, help='processes besides this one (default: 0)'
    )
    parser.add_argument('--overwrite', action='store_true', help='write files anew that exist')
    parser.add_argument('--quiet', action='store_true', help='no progress bar')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    return parser


def run_converter(args: argparse.Namespace, build: Build, after: After | None = None) -> int:
    """Convert, say what was done, and return the exit code; 130 if the user stops it."""

    def run() -> None:
        began = time.perf_counter()
        try:
            source, writer = build(args)
        except ValueError as error:
            # An option out of range; the text says which and what would be right.
            raise DataError(str(error)) from error
        try:
            done = convert(source, writer, args.workers, show=not args.quiet)
            if after is not None:
                after(args)
        except (OSError, BrokenProcessPool) as error:
            raise DataError(
                f"{type(error).__name__}: {error}. Check space and permissions of '{args.out}', "
                'or take fewer --workers if memory ran out; the same command then goes on where '
                'it stopped.'
            ) from error
        sys.stdout.write(summary(done, writer, time.perf_counter() - began))

    try:
        return guard(run, debug=args.debug)
    except KeyboardInterrupt:
        sys.stderr.write('\nstopped; the same command goes on from here.\n')
        return 130


def summary(done: Converted, writer: LayoutWriter, seconds: float) -> str:
    """One line about a conversion."""
    splits = ', '.join(f'{split} {len(names)}' for split, names in writer.names.items())
    pace = f', {1000 * seconds / done.written:.0f} ms each' if done.written else ''
    return (
        f'{writer.root}: {splits} pictures; {done.written} written in {seconds:.1f} s{pace}; '
        f'{done.kept} were there.\n'
    )


def size_option(parser: argparse.ArgumentParser, default: Sequence[int] | None, text: str) -> None:
    """Add ``--size H W``."""
    parser.add_argument('--size', type=int, nargs=2, metavar=('H', 'W'), default=default, help=text)
