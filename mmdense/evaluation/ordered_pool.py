"""Work on pictures in processes, results in the order of the pictures."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import types
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from mmengine.dist import get_world_size

from mmdense.utils import DataError
from mmdense.utils.jobs import end_with_parent


def cores_per_process() -> int:
    """Cores that this process may use, shared with the other ranks of a distributed run."""
    if hasattr(os, 'sched_getaffinity'):
        cores = len(os.sched_getaffinity(0))
    else:  # not on macOS and Windows
        cores = os.cpu_count() or 1
    ranks = int(os.environ.get('LOCAL_WORLD_SIZE', 0)) or get_world_size()
    return max(1, cores // ranks)


class OrderedPool:
    """Calls a function for one picture after the other, in worker processes or at once.

    Workers are started when first needed, from a clean server process where the platform
    has one: a copy of this process would inherit its threads and CUDA state. They end with
    :meth:`finish`, and by themselves if this process dies. They import the module of
    ``function`` but not the running script, which needs no ``if __name__ == '__main__':``.

    Args:
        function (Callable): A function of a module, not of the running script.
        workers (int): Processes; 0 calls ``function`` in this process.
        owner (str): Who works, for messages.
    """

    def __init__(self, function: Callable[..., Any], workers: int, owner: str) -> None:
        self.function = function
        self.workers = workers
        self.owner = owner
        self._pool: ProcessPoolExecutor | None = None
        self._waiting: deque[tuple[str, Future[Any]]] = deque()

    def submit(self, name: str, *args: Any, at_once: bool = False) -> Iterator[Any]:
        """Add a picture; yields results that are due, in order.

        At most two pictures per worker wait at any time, so that memory is bounded.

        Args:
            name (str): The picture, for messages.
            *args (Any): Arguments of the function.
            at_once (bool): Whether to work in this process, for small pictures.
        """
        if at_once or self.workers == 0:
            future: Future[Any] = Future()
            try:
                future.set_result(self.function(*args))
            except Exception as error:
                future.set_exception(error)
        else:
            future = self._send(name, args)
        return self._append(name, future)

    def skip(self, value: Any) -> Iterator[Any]:
        """Add a picture that needs no work; its result is ``value``."""
        future: Future[Any] = Future()
        future.set_result(value)
        return self._append('', future)

    def _send(self, name: str, args: tuple[Any, ...]) -> Future[Any]:
        if self._pool is None:
            self._pool = _start(self.function, self.workers)
        try:
            # Here, and not when the pool is made, its processes start.
            with _without_script():
                return self._pool.submit(self.function, *args)
        except BrokenProcessPool as error:
            raise self._broken(name) from error

    def _append(self, name: str, future: Future[Any]) -> Iterator[Any]:
        self._waiting.append((name, future))
        while self._waiting and (
            self._waiting[0][1].done() or len(self._waiting) > 2 * self.workers
        ):
            yield self._take()

    def finish(self) -> Iterator[Any]:
        """Yield what is left and end the workers."""
        while self._waiting:
            yield self._take()
        self.close()

    def close(self) -> None:
        """Forget what is left and end the workers."""
        self._waiting.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _take(self) -> Any:
        name, future = self._waiting.popleft()
        try:
            return future.result()
        except BrokenProcessPool as error:
            raise self._broken(name) from error
        except Exception as error:
            self.close()
            kind = DataError if isinstance(error, ValueError) else RuntimeError
            raise kind(
                f"{self.owner}: picture '{name}' failed with {type(error).__name__}: {error}"
            ) from error

    def _broken(self, name: str) -> RuntimeError:
        names = [name, *(waiting for waiting, _ in self._waiting if waiting)]
        self.close()
        return RuntimeError(
            f"{self.owner}: a worker process was ended from outside while '{names[0]}' and "
            f'{len(names) - 1} further pictures were due. If memory ran out, set fewer '
            f'`workers` than {self.workers}; 0 works in the main process.'
        )


@contextlib.contextmanager
def _without_script() -> Iterator[None]:
    """Hide the running script from processes that start, which would run it once more.

    Without a guard in the script that fails, and so does a script from standard input.
    """
    script = sys.modules['__main__']
    sys.modules['__main__'] = types.ModuleType('__main__')
    try:
        yield
    finally:
        sys.modules['__main__'] = script


def _start(function: Callable[..., Any], workers: int) -> ProcessPoolExecutor:
    if 'forkserver' in multiprocessing.get_all_start_methods():
        context: Any = multiprocessing.get_context('forkserver')
        # The server imports the module once; workers are copies of the server.
        context.set_forkserver_preload([function.__module__])
    else:
        context = multiprocessing.get_context('spawn')
    return ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent)
