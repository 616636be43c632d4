"""Whether a data set on disk is whole and plausible, before anything is trained on it."""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import init_default_scope

from mmdense.datasets import BaseDenseDataset
from mmdense.datasets.reading import decode_normals, read_stored_normals
from mmdense.datasets.writers.convert import STATE_FILE, read_state
from mmdense.registry import DATASETS
from mmdense.tasks import Depth
from mmdense.utils import DataError
from mmdense.utils.jobs import run_jobs

from .map_statistics import MapStatistics, statistics_of

Array = np.ndarray

_CHUNK = 16
#: Stands for the picture itself where a fault belongs to no task.
PICTURE = 'img'


@dataclass(frozen=True)
class Fault:
    """A file that cannot be used: the picture, the task (or ``'img'``), and what is wrong."""

    sample_id: str
    task: str
    message: str


@dataclass
class DatasetReport:
    """What a check found.

    Attributes:
        name: Type of the data set.
        data_root: Its folder, '' if it has none.
        pictures: Pictures on the list.
        read: Pictures that could be read.
        present: Task key to number of pictures with ground truth.
        missing: Task key to the pictures that lack it.
        sizes: Picture size ``'HxW'`` to number of pictures.
        faults: Files that cannot be used.
        statistics: Task key to its statistics.
        problems: What else is wrong.
        checksum: Checksum of all files, '' if it was not asked for.
    """

    name: str
    data_root: str = ''
    pictures: int = 0
    read: int = 0
    present: Counter[str] = field(default_factory=Counter)
    missing: dict[str, list[str]] = field(default_factory=dict)
    sizes: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    statistics: dict[str, MapStatistics] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    checksum: str = ''

    def merge(self, other: DatasetReport) -> None:
        """Add what was found in another part of the data set."""
        self.read += other.read
        self.present += other.present
        self.sizes += other.sizes
        self.faults += other.faults
        for key, names in other.missing.items():
            self.missing.setdefault(key, []).extend(names)
        for key, statistics in other.statistics.items():
            if key in self.statistics:
                self.statistics[key].merge(statistics)
            else:
                self.statistics[key] = statistics

    def all_problems(self) -> list[str]:
        """Everything that is wrong, a line each."""
        found = list(self.problems)
        found += [f'{fault.task}: {fault.message}' for fault in self.faults]
        for key, names in self.missing.items():
            found.append(
                f'{key}: {len(names)} of {self.pictures} pictures lack it, for example '
                f'{", ".join(names[:3])}'
            )
        for key, statistics in self.statistics.items():
            found += [f'{key}: {problem}' for problem in statistics.problems()]
        return found

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        return dict(
            dataset=self.name,
            data_root=self.data_root,
            pictures=self.pictures,
            read=self.read,
            sizes=dict(self.sizes.most_common()),
            tasks={
                key: dict(
                    present=self.present[key],
                    missing=self.missing.get(key, []),
                    **statistics.as_dict(),
                )
                for key, statistics in self.statistics.items()
            },
            faults=[vars(fault) for fault in self.faults],
            checksum=self.checksum,
            problems=self.all_problems(),
        )


def check_dataset(
    cfg: Mapping[str, Any],
    limit: int | None = None,
    workers: int = 0,
    show: bool = False,
) -> DatasetReport:
    """Read every picture of a data set with all its ground truth.

    Args:
        cfg (Mapping): Config of the data set; its pipeline is left out.
        limit (int | None): Read only so many pictures, spread over the list.
        workers (int): Processes besides this one.
        show (bool): Whether to draw a progress bar.

    Returns:
        DatasetReport: What was found; problems of the data are in it, not raised.

    Raises:
        DataError: If no task of the data set can be listed at all.
    """
    init_default_scope('mmdense')
    try:
        reader, problems = _Reader.of(cfg)
    except DataError as error:
        unfinished = _unfinished(str(cfg.get('data_root') or ''))
        if not unfinished:
            raise
        # Lists of pictures are written last, so this is why they are not there.
        raise DataError(f"'{cfg['data_root']}': {unfinished[0]}. ({error})") from error
    dataset = reader.dataset
    report = _empty(dataset)
    report.problems += problems
    report.pictures = len(dataset)
    count = len(dataset) if limit is None else min(limit, len(dataset))
    indices = np.unique(np.linspace(0, len(dataset) - 1, count).astype(int)).tolist()
    chunks = [indices[i : i + _CHUNK] for i in range(0, len(indices), _CHUNK)]
    for part in run_jobs(_read_chunk, reader, chunks, workers, show, size=len):
        report.merge(part)
    report.faults.sort(key=lambda fault: (fault.sample_id, fault.task))
    for names in report.missing.values():
        names.sort()
    report.problems += _unfinished(report.data_root)
    if not report.read:
        report.problems.append('no picture can be read')
    return report


def _unfinished(root: str) -> list[str]:
    state = read_state(Path(root)) if root else None
    if state is None or state['finished']:
        return []
    return [f"the conversion did not finish ('{STATE_FILE}'): run the converter again"]


def _empty(dataset: BaseDenseDataset) -> DatasetReport:
    classes = {**dataset.metainfo.get('task_classes', {})}
    classes['semseg'] = dataset.metainfo.get('classes')
    return DatasetReport(
        type(dataset).__name__,
        dataset.data_root or '',
        statistics={
            key: statistics_of(task, classes.get(key)) for key, task in dataset.tasks.items()
        },
    )


class _Reader:
    """A data set, and the same with each task alone to find out which of them is at fault."""

    def __init__(self, cfg: Mapping[str, Any], dataset: BaseDenseDataset) -> None:
        self.cfg = cfg
        self.dataset = dataset

    @classmethod
    def of(cls, cfg: Mapping[str, Any]) -> tuple[_Reader, list[str]]:
        """Build the data set with the tasks that have files; the others are problems."""
        cfg = dict(copy.deepcopy(dict(cfg)), pipeline=[], test_mode=True, serialize_data=False)
        try:
            return cls(cfg, _build(cfg)), []
        except DataError as error:
            problems = {}
            for key, task in cfg['tasks'].items():
                try:
                    _build({**cfg, 'tasks': {key: task}})
                except DataError as alone:
                    problems[key] = str(alone)
            if not problems or len(problems) == len(cfg['tasks']):
                raise error
            cfg['tasks'] = {k: v for k, v in cfg['tasks'].items() if k not in problems}
            return cls(cfg, _build(cfg)), list(problems.values())

    @functools.cached_property
    def single(self) -> dict[str, BaseDenseDataset]:
        """Task key to the data set with this task alone."""
        return {
            key: _build({**self.cfg, 'tasks': {key: task}})
            for key, task in self.cfg['tasks'].items()
        }

    def __getstate__(self) -> dict[str, Any]:
        return dict(cfg=self.cfg, dataset=self.dataset)


def _build(cfg: Mapping[str, Any]) -> BaseDenseDataset:
    # 'skip' lists pictures that are missing; reading them must fail all the same.
    dataset: BaseDenseDataset = DATASETS.build({**copy.deepcopy(dict(cfg)), 'on_error': 'skip'})
    dataset.on_error = 'raise'
    return dataset


def _read_chunk(reader: _Reader, indices: Sequence[int]) -> DatasetReport:
    report = _empty(reader.dataset)
    for index in indices:
        try:
            sample = reader.dataset.prepare_data(index)
        except (DataError, OSError) as error:
            report.faults += _find_faults(reader, index, error)
            continue
        _count(report, reader.dataset, index, sample)
    return report


def _find_faults(reader: _Reader, index: int, error: Exception) -> list[Fault]:
    """The tasks that make a picture unusable."""
    name = str(reader.dataset.get_data_info(index).get('sample_id', index))
    found = {}
    for key, dataset in reader.single.items():
        # A data set with part of the tasks may list part of the pictures.
        at = _index_of(dataset, name, index)
        if at is None:
            continue
        try:
            dataset.prepare_data(at)
        except (DataError, OSError) as alone:
            found[key] = str(alone)
    if len(set(found.values())) <= 1:
        everywhere = not found or 1 < len(found) == len(reader.single)
        # Otherwise several tasks may be made of one file.
        return [Fault(name, PICTURE if everywhere else ', '.join(found), str(error))]
    return [Fault(name, key, message) for key, message in found.items()]


def _index_of(dataset: BaseDenseDataset, name: str, index: int) -> int | None:
    if index < len(dataset) and dataset.get_data_info(index).get('sample_id') == name:
        return index
    ids = (dataset.get_data_info(i).get('sample_id') for i in range(len(dataset)))
    return next((i for i, one in enumerate(ids) if one == name), None)


def _count(
    report: DatasetReport, dataset: BaseDenseDataset, index: int, sample: Mapping[str, Any]
) -> None:
    gt = sample['gt']
    report.read += 1
    height, width = sample['img'].shape[:2]
    report.sizes[f'{height}x{width}'] += 1
    extra = _extra(dataset, index, gt)
    for key in dataset.tasks:
        if key not in gt:
            report.missing.setdefault(key, []).append(str(sample['sample_id']))
            continue
        report.present[key] += 1
        report.statistics[key].update(gt[key], extra)


def _extra(dataset: BaseDenseDataset, index: int, gt: Mapping[str, Array]) -> dict[str, Array]:
    """Maps that bear on the statistics of other tasks."""
    extra: dict[str, Array] = {}
    for key, task in dataset.tasks.items():
        if isinstance(task, Depth) and key in gt:
            value, known = gt[key], task.valid(gt[key])
            inverse = 1 / np.where(known, value, 1) if task.kind == 'metric' else value
            extra['inverse_depth'] = np.where(known, inverse, 0)
    path = dataset.get_data_info(index).get('files', {}).get('normal')
    if path is not None:
        # Data sets hand out unit vectors; damage shows on disk only.
        stored = decode_normals(read_stored_normals(path, dataset.backend_args), unit=False)
        extra['stored_length'] = np.linalg.norm(stored, axis=-1)
    return extra
