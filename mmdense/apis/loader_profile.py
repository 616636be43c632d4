"""Where the time of a training loader goes, step by step, in one process."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine import fileio
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from mmdense.datasets import BaseDenseDataset
from mmdense.datasets.samplers import SeededIndex
from mmdense.registry import DATASETS

from .model_parts import scope_of


@dataclass(frozen=True)
class StepTime:
    """One step of loading.

    Args:
        step (str): ``'decode <task>'``, a transform's name, ``'collate'``, ...
        cpu_ms (float): Mean processor time per picture, milliseconds. What other programs do
            hardly changes it, and waiting for a disk is not in it.
        wall_ms (float): The same by the clock on the wall.
        share (float): Of the processor time of all steps.
    """

    step: str
    cpu_ms: float
    wall_ms: float
    share: float


#: Seconds ``(2,)`` of the processor and of the clock on the wall.
Times = np.ndarray


def _now() -> Times:
    return np.array([time.thread_time(), time.perf_counter()])


class _Clock:
    """Seconds by step, over all pictures."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, Times] = defaultdict(lambda: np.zeros(2))

    def timed(self, step: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """``call``, with its time added to ``step``."""

        def run(*args: Any, **kwargs: Any) -> Any:
            start = _now()
            try:
                return call(*args, **kwargs)
            finally:
                self.seconds[step] += _now() - start

        return run


def profile_loader(
    cfg: Config, pictures: int = 50, batch_size: int | None = None
) -> list[StepTime]:
    """Time each step of the training loader of a config.

    The pictures are loaded once before, so that the files are in the page cache: what is
    measured is the processor, not the disk. What decoding one task costs is the time of
    reading with all tasks less that without it; tasks that share a file share its cost,
    which then counts as the picture's.

    Args:
        cfg (Config): With ``train_dataloader``.
        pictures (int): Pictures to average over.
        batch_size (int | None): Pictures per call of the collation; None: the config's.

    Returns:
        list[StepTime]: In the order of loading. They add up to the time of a picture.

    Raises:
        ValueError: If the data set is none of mmdense's.
    """
    loader = cfg.train_dataloader
    with scope_of(cfg):
        dataset = DATASETS.build(loader.dataset)
        if not isinstance(dataset, BaseDenseDataset):
            raise ValueError(
                f'train_dataloader.dataset is a {type(dataset).__name__}; the steps of loading are '
                'known for data sets of mmdense only.'
            )
        alone = {
            key: DATASETS.build(dict(loader.dataset, tasks={key: task}))
            for key, task in dataset.tasks.items()
        }
    order = [SeededIndex(i % len(dataset), 0, i) for i in range(pictures)]
    for index in order[: len(dataset)]:
        dataset[index]
    clock = _Clock()
    _load(dataset, order, batch_size or loader.batch_size, clock)
    reading = _reading_times(dataset, alone, order)
    seconds = clock.seconds
    read, checked, total, collate = map(
        seconds.pop, ('read', 'read and check', 'sample', 'collate')
    )
    rows = _reading_rows(read, seconds.pop('file', np.zeros(2)), reading)
    rows['check'] = checked - read
    rows.update(seconds)
    rows['other'] = total - sum(rows.values())
    rows['collate'] = collate
    whole = sum(cpu for cpu, _ in rows.values())
    return [
        StepTime(step, 1000 * cpu / pictures, 1000 * wall / pictures, cpu / whole)
        for step, (cpu, wall) in rows.items()
    ]


def _load(
    dataset: BaseDenseDataset, order: list[SeededIndex], batch_size: int, clock: _Clock
) -> None:
    """Load the pictures with every step timed."""
    transforms = dataset.pipeline.transforms
    untimed = list(transforms)
    names: defaultdict[str, int] = defaultdict(int)
    for position, transform in enumerate(untimed):
        name = type(transform).__name__
        names[name] += 1
        label = name if names[name] == 1 else f'{name} ({names[name]})'
        transforms[position] = clock.timed(label, transform)
    sample = clock.timed('sample', dataset.__getitem__)
    collate = clock.timed('collate', pseudo_collate)
    try:
        with (
            _replaced(dataset, 'read_sample', clock.timed('read', dataset.read_sample)),
            _replaced(
                dataset, '_read_checked', clock.timed('read and check', dataset._read_checked)
            ),
            _replaced(fileio, 'get', clock.timed('file', fileio.get)),
        ):
            # Batch by batch, as a worker does: samples that pile up cost fresh memory pages.
            for first in range(0, len(order), batch_size):
                collate([sample(index) for index in order[first : first + batch_size]])
    finally:
        transforms[:] = untimed


def _reading_times(
    dataset: BaseDenseDataset, alone: Mapping[str, BaseDenseDataset], order: list[SeededIndex]
) -> dict[str, Times]:
    """Seconds in ``read_sample``, without file access: '' for all tasks, keys for one alone.

    Picture by picture in turns, so that what else the machine does falls on all alike.
    """
    found: dict[str, Times] = {}
    clocks = {key: _Clock() for key in ('', *alone)}
    for index in order:
        for key, clock in clocks.items():
            part = alone.get(key, dataset)
            # A task on its own may have fewer pictures: those that hold nothing of it are dropped.
            info = part.get_data_info(index % len(part))
            with _replaced(fileio, 'get', clock.timed('file', fileio.get)):
                clock.timed('read', part.read_sample)(info)
    for key, clock in clocks.items():
        found[key] = clock.seconds['read'] - clock.seconds['file']
    return found


def _reading_rows(read: Times, file: Times, times: Mapping[str, Times]) -> dict[str, Times]:
    """Seconds of file access, of decoding the picture, and of decoding each task.

    Reading with one task takes p + t_k, with all of them p + sum t_k.

    Args:
        read (Times): Seconds in ``read_sample`` of the run that is reported.
        file (Times): Those of them in file access.
        times (Mapping): As :func:`_reading_times` returns them; they give the proportions.
    """
    rows = dict(file=file)
    alone = {key: seconds for key, seconds in times.items() if key}
    if len(alone) < 2:
        return {**rows, 'decode picture and ' + ''.join(alone): read - file}
    picture = np.maximum((sum(alone.values()) - times['']) / (len(alone) - 1), 0)
    parts = {'picture': picture, **{key: np.maximum(t - picture, 0) for key, t in alone.items()}}
    scale = (read - file) / sum(parts.values())
    return {**rows, **{f'decode {key}': t * scale for key, t in parts.items()}}


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """``owner.name`` is ``value`` for as long as the block runs."""
    before = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is None:
            delattr(owner, name)
        else:
            setattr(owner, name, before)
