"""Looking at a data set: its pictures before and after the transforms, and what its values are."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmengine.utils import ProgressBar

from mmdense.datasets import BaseDenseDataset
from mmdense.datasets.samplers import SeededIndex
from mmdense.registry import DATASETS
from mmdense.structures import DenseDataSample
from mmdense.tasks import BaseTask
from mmdense.tasks.drawing import class_names
from mmdense.utils import DataError
from mmdense.utils.config_check import ConfigError
from mmdense.visualization import save_picture, to_array
from mmdense.visualization.stages import Stage, stage_panel

from .map_statistics import MapStatistics, statistics_of

Array = np.ndarray

#: What a picture of a data set shows.
MODES = ('concat', 'original', 'transformed', 'pipeline')
SPLITS = ('train', 'val', 'test')


@dataclass
class Browsed:
    """What :func:`browse_dataset` wrote.

    Attributes:
        pictures: Files with a panel each.
        histograms: File with the histograms, None if there are none.
        unreadable: Pictures that could not be read, and why.
        statistics: Task key to the statistics as read and, in modes with transforms, after them.
    """

    pictures: list[Path] = field(default_factory=list)
    histograms: Path | None = None
    unreadable: list[str] = field(default_factory=list)
    statistics: dict[str, list[MapStatistics]] = field(default_factory=dict)


def browse_dataset(
    cfg: Config,
    out_dir: str | Path,
    split: str = 'train',
    number: int = 8,
    indices: Sequence[int] | None = None,
    mode: str = 'concat',
    draws: int = 1,
    seed: int = 0,
    histograms: int = 100,
    show: bool = False,
) -> Browsed:
    """Draw pictures of a data set with their ground truth.

    Each picture becomes ``<out_dir>/<split>_<sample_id>.png``, and the values of every task
    ``<out_dir>/<split>_histograms.png``, as read beside after the transforms.

    Args:
        cfg (Config): Any config with a loader for ``split``.
        out_dir (str | Path): Folder for the pictures.
        split (str): ``'train'``, ``'val'`` or ``'test'``.
        number (int): Pictures, spread over the list.
        indices (Sequence[int] | None): These pictures instead.
        mode (str): ``'original'``: as read. ``'transformed'``: after the pipeline.
            ``'concat'``: both, a row each. ``'pipeline'``: a row after every transform.
        draws (int): How many times the pipeline is run on a picture, each with other chances.
        seed (int): Of the chances.
        histograms (int): Pictures whose values are counted, spread over the list; 0 for no
            histograms.
        show (bool): Whether to draw a progress bar.

    Raises:
        ConfigError: If the config has no such loader, its data set is not one of mmdense, or an
            argument is out of range.
        DataError: If no picture can be read.
    """
    if mode not in MODES or number < 0 or draws < 1:
        raise ConfigError(
            f'browse_dataset: mode={mode!r}, number={number}, draws={draws}; choose a mode of '
            f'{", ".join(MODES)}, number >= 0 and draws >= 1.'
        )
    source = _Source(cfg, split)
    out_dir, found = Path(out_dir), Browsed()
    chosen = source.spread(number) if indices is None else source.checked(indices)
    counted = source.spread(histograms)
    bar = ProgressBar(len(chosen) + len(counted), file=sys.stderr) if show else None
    for index in chosen:
        try:
            name, stages = source.stages(index, mode, draws, seed)
        except (DataError, OSError) as error:
            found.unreadable.append(str(error))
        else:
            path = out_dir / f'{split}_{name.replace("/", "_")}.png'
            save_picture(path, stage_panel(stages, source.tasks))
            found.pictures.append(path)
        if bar is not None:
            bar.update()
    if counted:
        kinds = {'original': (False,), 'transformed': (True,)}.get(mode, (False, True))
        found.statistics = source.statistics(counted, kinds, seed, bar)
        found.histograms = out_dir / f'{split}_histograms.png'
        draw_histograms(found.statistics, kinds, found.histograms)
    if bar is not None:
        sys.stderr.write('\n')
    if chosen and not found.pictures:
        raise DataError(
            f'None of {len(chosen)} pictures can be read, for example: {found.unreadable[0]}'
        )
    return found


class _Source:
    """The data sets of a loader, one behind the other."""

    def __init__(self, cfg: Config, split: str) -> None:
        if split not in SPLITS:
            raise ConfigError(f'browse_dataset: split is {split!r}; choose one of {SPLITS}.')
        loader = cfg.get(f'{split}_dataloader')
        if not loader:
            raise ConfigError(f'The config sets no {split}_dataloader, so there is nothing to see.')
        init_default_scope(cfg.get('default_scope', 'mmdense'))
        self.parts = list(_leaves(DATASETS.build(copy.deepcopy(loader['dataset']))))
        self.starts = np.cumsum([0, *(len(part) for part in self.parts)])
        self.tasks: dict[str, BaseTask] = {}
        for part in self.parts:
            for key, classes in class_names(part.metainfo).items():
                if key in part.tasks:
                    part.tasks[key].name_classes(classes)
            self.tasks = {**part.tasks, **self.tasks}

    def __len__(self) -> int:
        return int(self.starts[-1])

    def spread(self, number: int) -> list[int]:
        """So many indices, evenly over the list."""
        count = min(number, len(self))
        return np.unique(np.linspace(0, len(self) - 1, count).astype(int)).tolist()

    def checked(self, indices: Sequence[int]) -> list[int]:
        """The indices, negative ones from the end.

        Raises:
            ConfigError: If one is out of range.
        """
        wrong = [i for i in indices if not -len(self) <= i < len(self)]
        if wrong:
            raise ConfigError(f'--indices {wrong[0]}: there are {len(self)} pictures, from 0 on.')
        return [i % len(self) for i in indices]

    def _read(self, index: int, seed: int, draw: int = 0) -> tuple[BaseDenseDataset, Any]:
        """The part that holds a picture, and the picture before its pipeline."""
        at = int(np.searchsorted(self.starts, index, side='right')) - 1
        part = self.parts[at]
        plain = copy.copy(part)
        plain.pipeline = Compose([])
        # An unreadable picture must not be replaced by another one here.
        plain.on_error = 'raise'
        seeded = SeededIndex(index - int(self.starts[at]), seed, index * 1000 + draw)
        return part, plain.prepare_data(seeded)

    def stages(self, index: int, mode: str, draws: int, seed: int) -> tuple[str, list[Stage]]:
        """Name of a picture, and what is drawn of it."""
        part, data = self._read(index, seed)
        name = str(data['sample_id'])
        first = Stage(f'as read, {_size(data["img"])}', data['img'].copy(), _copy(data['gt']))
        stages = [] if mode == 'transformed' else [first]
        if mode == 'original':
            return name, stages
        for draw in range(draws):
            data = self._read(index, seed, draw)[1]
            if mode == 'pipeline':
                stages += _steps(part, data)
                continue
            image, gt = _unpack(part, part.pipeline(data))
            number = f' ({draw + 1})' if draws > 1 else ''
            stages.append(Stage(f'transformed{number}, {_size(image)}', image, gt))
        return name, stages

    def statistics(
        self,
        indices: Sequence[int],
        kinds: Sequence[bool],
        seed: int,
        bar: ProgressBar | None = None,
    ) -> dict[str, list[MapStatistics]]:
        """Task key to the values as read (False) and after the transforms (True)."""
        found = {key: [statistics_of(task) for _ in kinds] for key, task in self.tasks.items()}
        for index in indices:
            try:
                part, data = self._read(index, seed)
            except (DataError, OSError):
                # Listed by check.py; the panels name those among the drawn ones.
                continue
            finally:
                if bar is not None:
                    bar.update()
            for place, transformed in enumerate(kinds):
                gt = _unpack(part, part.pipeline(data))[1] if transformed else data['gt']
                for key, value in gt.items():
                    found[key][place].update(value, {})
        return found


def _leaves(dataset: Any) -> Iterator[BaseDenseDataset]:
    """The data sets inside wrappers such as mmengine's ``ConcatDataset`` and ``RepeatDataset``."""
    if isinstance(dataset, BaseDenseDataset):
        dataset.full_init()
        yield dataset
    elif hasattr(dataset, 'datasets'):
        for part in dataset.datasets:
            yield from _leaves(part)
    elif hasattr(dataset, 'dataset'):
        yield from _leaves(dataset.dataset)
    else:
        raise ConfigError(
            f'The data set is a {type(dataset).__name__}, which is none of mmdense; the package '
            'that it comes from has a browser of its own.'
        )


def _steps(part: BaseDenseDataset, data: Any) -> Iterator[Stage]:
    """A stage after every transform, but the last that only packs."""
    for transform in part.pipeline.transforms:
        data = transform(data)
        if data is None:
            return
        name = type(transform).__name__
        packed = 'data_samples' in data
        image, gt = _unpack(part, data) if packed else (data['img'], data['gt'])
        yield Stage(f'{name}, {_size(image)}', image.copy(), _copy(gt))


def _unpack(part: BaseDenseDataset, data: Mapping[str, Any]) -> tuple[Array, dict[str, Array]]:
    """Picture and ground-truth arrays of a packed sample."""
    sample: DenseDataSample = data['data_samples']
    image = np.ascontiguousarray(data['inputs'].numpy().transpose(1, 2, 0))
    gt: dict[str, Array] = {}
    for key, task in part.tasks.items():
        value = sample.gt(task)
        if value is not None:
            gt[key] = to_array(value).astype(task.dtype)
    return image, gt


def _copy(gt: Mapping[str, Array]) -> dict[str, Array]:
    return {key: value.copy() for key, value in gt.items()}


def _size(image: Array) -> str:
    return f'{image.shape[0]}x{image.shape[1]}'


def draw_histograms(
    statistics: Mapping[str, Sequence[MapStatistics]], kinds: Sequence[bool], path: Path
) -> None:
    """A row per task: its values as read, and after the transforms, on one axis.

    Args:
        statistics (Mapping): Task key to statistics, in the order of ``kinds``.
        kinds (Sequence[bool]): Whether each was counted after the transforms.
        path (Path): Of the PNG.
    """
    from matplotlib.figure import Figure

    size = (5.2 * len(kinds), 2.9 * len(statistics))
    figure = Figure(figsize=size, dpi=100, layout='constrained')
    grid = figure.subplots(len(statistics), len(kinds), squeeze=False, sharex='row', sharey='row')
    for line, (key, found) in zip(grid, statistics.items()):
        for axes, counted, transformed in zip(line, found, kinds):
            when = 'transformed' if transformed else 'as read'
            known = 100 * counted.known / counted.pixels if counted.pixels else 0.0
            axes.set_title(
                f'{key}, {when}: {counted.pictures} pictures, {known:.1f} % of pixels known',
                fontsize=9,
            )
            if counted.known:
                counted.draw(axes)
            axes.tick_params(labelbottom=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
