"""Guess in which axes normals are stored, from the normals themselves.

Give a dozen files of level indoor scenes, 8-bit pictures or ``.npy`` arrays::

    python tools/misc/check_normal_axes.py normals/*.png --out check.png

It prints the axes to write into ``normal_axes`` of the data set, and draws the first files in
the colours of mmdense: there floors are green, ceilings violet, left walls pink, right walls blue.
"""

import argparse
import sys

import numpy as np

from mmdense.conventions import CONVENTIONS, axis_signs, estimate_axes
from mmdense.datasets.reading import decode_normals, read_map
from mmdense.engine.launch import guard
from mmdense.tasks import Normal
from mmdense.utils.command_line import ToolParser
from mmdense.visualization import save_picture
from mmdense.visualization.panels import resize_tile, tile_grid


def run(args: argparse.Namespace) -> None:
    """Print the estimate, and draw."""
    maps = [decode_normals(read_map(path)) for path in args.files]
    found = estimate_axes(maps)
    print(found)
    axes = args.axes or found.axes
    signs = axis_signs(axes).tolist()
    names = [n for n, c in CONVENTIONS.items() if axis_signs(c.normal_axes).tolist() == signs]
    print(f'{axes} are those of {", ".join(names) or "no known project"}.')
    print(f"In the config of the data set: normal_axes='{axes}'")
    if args.out:
        size = maps[0].shape[:2]
        shown = [Normal().colorize(m * np.asarray(signs, np.float32)) for m in maps[:8]]
        tiles = [resize_tile(picture, size, nearest=True) for picture in shown]
        save_picture(args.out, tile_grid([tiles[i : i + 4] for i in range(0, len(tiles), 4)]))
        print(args.out)


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('files', nargs='+', help='normals as pictures or .npy arrays')
    parser.add_argument('--axes', help='draw as if stored in these axes, or by this project')
    parser.add_argument('--out', metavar='PNG', help='draw the first eight in library colours')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    args = parser.parse_args(argv)
    return guard(lambda: run(args), debug=args.debug)


if __name__ == '__main__':
    sys.exit(main())
