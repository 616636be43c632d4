r"""Memory of inference while pictures are streamed to disk.

::

    python tools/analysis_tools/inference_memory.py \
        mtl_r18-thin_1xb8-600_rooms-96x128 \
        work_dirs/mtl_r18-thin_1xb8-600_rooms-96x128/iter_600.pth --pictures 1000

Pictures are made as they are needed; their maps are written and forgotten. What the process holds
after the first 100 pictures and at the end must be about the same.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from mmdense.apis import DenseInferencer
from mmdense.apis.benchmark import memory_status
from mmdense.engine.launch import guard
from mmdense.utils.command_line import ToolParser

_MIB = 2**20


def random_pictures(count: int, sizes: list[tuple[int, int]]) -> Iterator[np.ndarray]:
    """Pictures of the sizes in turn."""
    rng = np.random.default_rng(0)
    for index in range(count):
        yield rng.integers(0, 256, (*sizes[index % len(sizes)], 3), dtype=np.uint8)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Stream pictures and look at the resident memory on the way.

    Returns:
        dict: MiB after ``mark`` pictures and at the end, their difference, and seconds.
    """
    inferencer = DenseInferencer(args.config, args.checkpoint, device=args.device)
    sizes = [(args.size[0], args.size[1])]
    if args.vary:
        sizes += [(args.size[0] + 32 * i, args.size[1] + 64 * i) for i in range(1, 5)]
    held: dict[int, float] = {}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        stream = inferencer.stream(
            args.inputs if args.inputs else random_pictures(args.pictures, sizes),
            out_dir=args.out_dir or folder,
            batch_size=args.batch_size,
            formats=args.formats,
        )
        for done, _ in enumerate(stream, 1):
            if done % args.every == 0 or done == args.mark:
                held[done] = (memory_status('VmRSS') or 0) / _MIB
                if not args.json:
                    print(f'{done:6} pictures {held[done]:9.1f} MiB', flush=True)
    if args.mark not in held or len(held) < 2:
        raise ValueError(f'fewer than --mark {args.mark} pictures were streamed; give more.')
    first, last = held[args.mark], held[max(held)]
    return dict(
        pictures=max(held),
        first_mib=first,
        last_mib=last,
        growth_mib=last - first,
        peak_growth_mib=max(v for k, v in held.items() if k >= args.mark) - first,
        seconds=time.perf_counter() - start,
    )


def main(argv: list[str] | None = None) -> int:
    """Read the command line, measure, print."""
    parser = ToolParser(__doc__)
    parser.add_argument('config', help='path or name of a config')
    parser.add_argument('checkpoint', nargs='?', help='random weights without it')
    parser.add_argument('--pictures', type=int, default=1000, help='how many (%(default)s)')
    parser.add_argument('--size', type=int, nargs=2, default=(96, 128), metavar=('H', 'W'))
    parser.add_argument('--vary', action='store_true', help='five sizes in turn, not one')
    parser.add_argument('--inputs', help='a folder, pattern or video in place of random pictures')
    parser.add_argument('--batch-size', type=int, default=1)
    parser.add_argument('--mark', type=int, default=100, help='growth counts from here (100)')
    parser.add_argument('--every', type=int, default=100, help='pictures between looks (100)')
    parser.add_argument('--limit', type=float, help='exit code 1 beyond this growth, in MiB')
    parser.add_argument('--out-dir', help='keep the files here; without it they are deleted')
    parser.add_argument('--formats', nargs='+', default=['npz', 'depth', 'labels', 'pictures'])
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--json', action='store_true', help='print JSON')
    args = parser.parse_args(argv)
    found: dict[str, Any] = {}
    code = guard(lambda: found.update(measure(args)))
    if code:
        return code
    if args.json:
        print(json.dumps(dict(settings=vars(args), **found), indent=2))
    else:
        print(
            f'{found["first_mib"]:.1f} MiB after {args.mark} pictures, {found["last_mib"]:.1f} MiB '
            f'after {found["pictures"]}: growth {found["growth_mib"]:+.1f} MiB '
            f'(at most {found["peak_growth_mib"]:+.1f}), {found["seconds"]:.0f} s'
        )
    return int(args.limit is not None and found['peak_growth_mib'] > args.limit)


if __name__ == '__main__':
    sys.exit(main())
