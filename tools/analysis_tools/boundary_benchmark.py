"""Time the boundary benchmark (odsF) on made-up predictions for procedural rooms.

Seconds per picture by step, for the form that is used and for the one by the book::

    python tools/analysis_tools/boundary_benchmark.py --check
    python tools/analysis_tools/boundary_benchmark.py --pictures 654 --workers 2 --plain 0
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage
from terminaltables import AsciiTable

from mmdense.datasets.rooms.render import render_room
from mmdense.engine.launch import guard
from mmdense.evaluation.boundary import (
    BoundaryProtocol,
    best_counts,
    boundary_map,
    boundary_scores,
    count_thinned,
    count_thinned_plain,
    distinct_maps,
    gt_boundaries,
    thin,
    thin_levels,
    thin_plain,
    thresholds_reached,
    true_boundaries,
)
from mmdense.evaluation.boundary.cached import count_picture
from mmdense.evaluation.ordered_pool import OrderedPool
from mmdense.utils.command_line import ToolParser

Array = np.ndarray


class Picture(NamedTuple):
    """Boundary map 0 or 1, and predicted levels 0 .. 255."""

    labels: Array
    levels: Array


def make_picture(index: int, size: tuple[int, int]) -> Picture:
    """A room, and what a network might say about it.

    Blurred true boundaries of varying confidence, false ones from the gradient of the
    picture, and noise; all 8-bit levels occur.
    """
    room = render_room(0, 'val', index, size, 0)
    rng = np.random.default_rng(index)
    edges = room.gt['boundary']
    near = ndimage.gaussian_filter(edges.astype(float), 1.8)
    sure = ndimage.gaussian_filter(rng.normal(size=size), 25)
    sure = np.clip(0.6 + 0.35 * sure / sure.std(), 0.05, 1.3)
    grey = ndimage.gaussian_filter(room.image.mean(axis=-1), 1.2)
    texture = np.hypot(ndimage.sobel(grey, 0), ndimage.sobel(grey, 1))
    texture = np.clip(texture / np.percentile(texture, 99), 0, 1)
    noise = ndimage.gaussian_filter(rng.normal(size=size), 1)
    logit = 9 * np.clip(1.3 * near / near.max(), 0, 1) * sure + 2.5 * texture - 4.5
    probability = 1 / (1 + np.exp(-logit - 0.6 * noise / noise.std()))
    return Picture(edges, (255 * probability).astype(np.uint8))


class Stopwatch:
    """Wall and processor seconds by step."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def __call__(self, step: str, function: Callable[..., Any], *args: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        result = function(*args)
        self.spent[step][0] += time.perf_counter() - wall
        self.spent[step][1] += time.process_time() - cpu
        return result

    @property
    def total(self) -> tuple[float, float]:
        """Wall and processor seconds of all steps."""
        return tuple(np.sum(list(self.spent.values()), axis=0))


def count_fast(picture: Picture, protocol: BoundaryProtocol, watch: Stopwatch) -> Array:
    """Counters of a picture as the metric makes them."""
    truth = watch('true boundaries', true_boundaries, picture.labels)
    p = watch('suppression', boundary_map, picture.levels, protocol)

    def thinned() -> tuple[Array, Array, Array]:
        reached = thresholds_reached(p, protocol)
        rank, numbers = distinct_maps(reached, len(protocol.grid))
        return (*thin_levels(rank, int(rank.max(initial=0))), numbers)

    index, words, numbers = watch('thinning', thinned)
    return watch('matching', count_thinned, index, words, truth, protocol, numbers)


def count_plain(picture: Picture, protocol: BoundaryProtocol, watch: Stopwatch) -> Array:
    """Counters of a picture by the book."""
    truth = watch('true boundaries', lambda: thin(gt_boundaries(picture.labels)))
    p = watch('suppression', boundary_map, picture.levels, protocol)
    maps = watch('thinning', thin_plain, p, protocol)
    return watch('matching', count_thinned_plain, maps, truth, protocol)


def table(fast: Stopwatch, fast_count: int, plain: Stopwatch, plain_count: int) -> str:
    """Seconds per picture and step."""
    rows = [['step', 'wall s', 'CPU s', 'by the book, CPU s', 'ratio']]
    names = [*fast.spent, 'together']
    for name in names:
        wall, cpu = fast.total if name == names[-1] else fast.spent[name]
        book, ratio = '-', '-'
        if plain_count:
            seconds = (plain.total if name == names[-1] else plain.spent[name])[1] / plain_count
            book, ratio = f'{seconds:.3f}', f'{seconds * fast_count / max(cpu, 1e-9):.1f}'
        rows.append([name, f'{wall / fast_count:.4f}', f'{cpu / fast_count:.4f}', book, ratio])
    return AsciiTable(rows, f'seconds per picture ({fast_count} and {plain_count} pictures)').table


def run(args: argparse.Namespace) -> int:
    """Measure, print, and return the exit code."""
    protocol = BoundaryProtocol(args.max_dist, not args.no_nms)
    size = (args.size[0], args.size[1])
    distinct = min(args.distinct, args.pictures)
    pictures = [make_picture(index, size) for index in range(distinct)]
    levels = np.mean([len(np.unique(picture.levels)) for picture in pictures])
    print(
        f'{args.pictures} pictures ({distinct} different) of {size[0]} x {size[1]}, '
        f'{levels:.0f} levels each, {len(protocol.grid)} thresholds, '
        f'{"with" if protocol.nms else "without"} suppression, max_dist {protocol.max_dist:g}'
    )
    jobs = [pictures[index % distinct] for index in range(args.pictures)]
    if args.workers:
        return run_pool(jobs, protocol, args.workers)
    fast, plain = Stopwatch(), Stopwatch()
    counts = [count_fast(picture, protocol, fast) for picture in jobs]
    print_scores(counts, protocol)
    books = [count_plain(picture, protocol, plain) for picture in jobs[: args.plain]]
    print(table(fast, len(jobs), plain, len(books)))
    if args.check:
        wrong = [k for k, book in enumerate(books) if not np.array_equal(book, counts[k])]
        print(f'{len(books) - len(wrong)} of {len(books)} pictures have equal counters')
        return 1 if wrong or not books else 0
    return 0


def run_pool(jobs: list[Picture], protocol: BoundaryProtocol, workers: int) -> int:
    """The whole evaluation in worker processes, as the metric runs it."""
    pool = OrderedPool(count_picture, workers, 'boundary_benchmark')
    wall, found = time.perf_counter(), []
    for number, picture in enumerate(jobs):
        found += pool.submit(str(number), picture.levels, picture.labels, None, protocol)
        if (number + 1) % 100 == 0:
            print(f'{number + 1} pictures after {time.perf_counter() - wall:.1f} s', flush=True)
    found += pool.finish()
    wall = time.perf_counter() - wall
    print_scores([counted.counts for counted in found], protocol)
    print(
        f'{len(jobs)} pictures in {wall:.1f} s of wall time with {workers} workers, '
        f'{wall / len(jobs):.3f} s each'
    )
    return 0


def print_scores(counts: list[Array], protocol: BoundaryProtocol) -> None:
    """What the made-up predictions score, to see that they are plausible."""
    best = np.sum([best_counts(each) for each in counts], axis=0)
    scores = boundary_scores(np.sum(counts, axis=0), best, protocol.grid)
    print(', '.join(f'{name} {value:.4f}' for name, value in scores._asdict().items()))


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('--pictures', type=int, default=20, metavar='N')
    parser.add_argument(
        '--distinct', type=int, default=20, metavar='N', help='make so many and repeat them'
    )
    parser.add_argument(
        '--plain', type=int, default=2, metavar='N', help='pictures to count by the book, too'
    )
    parser.add_argument('--check', action='store_true', help='compare the counters of both forms')
    parser.add_argument('--size', type=int, nargs=2, default=(425, 560), metavar=('H', 'W'))
    parser.add_argument('--max-dist', type=float, default=0.011)
    parser.add_argument('--no-nms', action='store_true', help='without suppression of non-maxima')
    parser.add_argument(
        '--workers', type=int, default=0, metavar='N', help='time a whole run in N processes'
    )
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    args = parser.parse_args(argv)
    codes: list[int] = []
    return guard(lambda: codes.append(run(args)), debug=args.debug) or codes[0]


if __name__ == '__main__':
    sys.exit(main())
