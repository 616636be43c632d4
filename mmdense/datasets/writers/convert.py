"""From a source of pictures to a layout: in parallel, with a progress bar, and resumable."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import cv2
from mmengine.utils import ProgressBar

from .base import LayoutWriter


class Source(Protocol):
    """Where pictures come from. Picklable: workers get a copy, and open files themselves."""

    #: Tasks that every picture has; what a resumed conversion expects to find.
    tasks: Sequence[str]

    def ids(self) -> Mapping[str, Sequence[str]]:
        """Split to the sample ids of its pictures, '' to have the writer make one."""

    def read(self, split: str, index: int) -> dict[str, Any]:
        """One picture, as :meth:`~.base.LayoutWriter.write` takes it."""


@dataclass(frozen=True)
class Converted:
    """What a conversion did: pictures ``written`` now, and ``kept`` from before."""

    written: int
    kept: int


_Job = tuple[str, int]
# What a worker process works with, set once when it starts.
_state: dict[str, Any] = {}


def convert(source: Source, writer: LayoutWriter, workers: int = 0, show: bool = True) -> Converted:
    """Write all pictures of ``source`` with ``writer``, then its lists.

    Pictures whose files are there are kept, so that a conversion that was stopped, by
    whatever means, goes on when it is started again.

    Args:
        source (Source): Where the pictures come from.
        writer (LayoutWriter): Where they go.
        workers (int): Processes besides this one; 0 does everything here.
        show (bool): Whether to draw a progress bar.

    Raises:
        DataError: If a picture cannot be read or written; those before it stay.
    """
    jobs: list[_Job] = []
    names: list[tuple[str, str]] = []
    for split, ids in source.ids().items():
        for index, sample_id in enumerate(ids):
            name = writer.name(split, index, sample_id)
            names.append((split, name))
            if not writer.done(split, name, source.tasks):
                jobs.append((split, index))
    bar = ProgressBar(len(jobs), file=sys.stderr) if show and jobs else None
    for _ in _run(source, writer, jobs, workers):
        if bar is not None:
            bar.update()
    if bar is not None:
        sys.stderr.write('\n')
    for split, name in names:
        writer.record(split, name)
    writer.finish()
    return Converted(len(jobs), len(names) - len(jobs))


def _run(
    source: Source, writer: LayoutWriter, jobs: Sequence[_Job], workers: int
) -> Iterator[None]:
    """Do the jobs; yields once for each that is done."""
    if workers < 1 or len(jobs) < 2:
        _start(source, writer)
        for job in jobs:
            _work(job)
            yield
        return
    # Threads of OpenCV that are alive at a fork leave locks behind in the child.
    cv2.setNumThreads(0)
    waiting = iter(jobs)
    with ProcessPoolExecutor(min(workers, len(jobs)), initializer=_start,
                             initargs=(source, writer)) as pool:  # fmt: skip
        # A few jobs ahead, not millions, and none after the first that fails.
        running: set[Future[None]] = {
            pool.submit(_work, job) for job in islice(waiting, 2 * workers)
        }
        try:
            while running:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()
                    running.update(pool.submit(_work, job) for job in islice(waiting, 1))
                    yield
        finally:
            for future in running:
                future.cancel()


def _start(source: Source, writer: LayoutWriter) -> None:
    cv2.setNumThreads(0)
    _state.update(source=source, writer=writer)


def _work(job: _Job) -> None:
    split, index = job
    _state['writer'].write(split, index, _state['source'].read(split, index))
