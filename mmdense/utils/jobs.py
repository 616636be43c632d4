"""Many independent pieces of work, in this process or spread over others."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from typing import Any, TypeVar

import cv2
from mmengine.utils import ProgressBar

Job = TypeVar('Job')
Result = TypeVar('Result')

# What a worker process works with, set once when it starts.
_context: dict[str, Any] = {}


def run_jobs(
    work: Callable[[Any, Job], Result],
    shared: Any,
    jobs: Sequence[Job],
    workers: int = 0,
    show: bool = False,
    size: Callable[[Job], int] = lambda _: 1,
) -> Iterator[Result]:
    """Yield ``work(shared, job)`` of every job, in the order in which they are done.

    The first that fails stops the rest; its error is raised.

    Args:
        work (Callable): A function of a module, so that workers can import it.
        shared (Any): What all jobs need; copied to each worker once.
        jobs (Sequence): The pieces of work.
        workers (int): Processes besides this one; 0 does everything here.
        show (bool): Whether to draw a progress bar on the standard error.
        size (Callable): How far a job moves the bar.
    """
    bar = ProgressBar(sum(map(size, jobs)), file=sys.stderr) if show and jobs else None
    for job, result in _results(work, shared, jobs, workers):
        if bar is not None:
            bar.update(size(job))
        yield result
    if bar is not None:
        sys.stderr.write('\n')


def _results(
    work: Callable[[Any, Job], Result], shared: Any, jobs: Sequence[Job], workers: int
) -> Iterator[tuple[Job, Result]]:
    if workers < 1 or len(jobs) < 2:
        for job in jobs:
            yield job, work(shared, job)
        return
    # Threads of OpenCV that are alive at a fork leave locks behind in the child.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    waiting = iter(jobs)
    pool = ProcessPoolExecutor(min(workers, len(jobs)), initializer=_start, initargs=(shared,))
    # A few jobs ahead, not millions, and none after the first that fails.
    running: dict[Future[Result], Job] = {}
    try:
        running = {pool.submit(_call, work, job): job for job in islice(waiting, 2 * workers)}
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                result = future.result()
                running.update({pool.submit(_call, work, one): one for one in islice(waiting, 1)})
                yield job, result
    finally:
        pool.shutdown(cancel_futures=True)
        cv2.setNumThreads(threads)


def end_with_parent() -> None:
    """Have this worker process end when its parent is killed, which cannot end its workers.

    They would wait for work for ever otherwise.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        # Forked workers hold this pipe open for those before them: they end from last to first.
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _start(shared: Any) -> None:
    end_with_parent()
    # The processes share the cores already.
    cv2.setNumThreads(0)
    _context['shared'] = shared


def _call(work: Callable[[Any, Job], Result], job: Job) -> Result:
    return work(_context['shared'], job)
