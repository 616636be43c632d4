"""``dataset.yml``: what the files of a folder data set mean."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from mmengine import fileio

from mmdense.registry import TASKS
from mmdense.tasks import BaseTask
from mmdense.utils import DataError, suggest

from .file_lists import MapFiles
from .folder_formats import FORMATS, MapFormat, number, usual_format
from .reading import read_bytes

DESCRIPTION = 'dataset.yml'
PICTURE_ENDINGS = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')
#: JPEG is missing on purpose: it changes the values of maps.
MAP_ENDINGS = ('.png', '.npy', '.tif', '.tiff')
_TOP = ('name', 'images', 'tasks', 'splits', 'intrinsics')
_PLACE = ('folder', 'ending')
#: What a split is given as.
Split = str | float | Sequence[str]


@dataclass(frozen=True)
class TaskFolder:
    """The folder of one task.

    Attributes:
        name: How the file calls the task: its key or an alias.
        files: Where its maps are.
        format_name: The format that the entry names, None for the usual one of the task.
        options: Arguments of the format.
        where: File and entry, for messages.
    """

    name: str
    files: MapFiles
    format_name: str | None
    options: Mapping[str, Any]
    where: str

    def build(self, task: type[BaseTask]) -> MapFormat:
        """The format of the files.

        Raises:
            DataError: If a key or a value of the entry is wrong.
        """
        kind = FORMATS[self.format_name] if self.format_name else usual_format(task)
        known = set(inspect.signature(kind).parameters) - {'where'}
        for key in self.options:
            if key not in known:
                names = (*known, *_PLACE, 'format')
                raise DataError(
                    f"{self.where}: a map of format '{kind.name}' has no '{key}'. "
                    f'{suggest(str(key), names)}'
                )
        return kind(self.where, **self.options)


@dataclass(frozen=True)
class Description:
    """A read ``dataset.yml``.

    Attributes:
        path: The file.
        images: Where the pictures are.
        tasks: The entries of its tasks.
        splits: Name to what the split is given as.
        intrinsics: fx, fy, cx, cy of all pictures in pixels, None where unknown.
    """

    path: str
    images: MapFiles
    tasks: tuple[TaskFolder, ...]
    splits: Mapping[str, Split]
    intrinsics: tuple[float, ...] | None = None
    name: str = field(default='')

    def entry(self, names: Sequence[str]) -> TaskFolder | None:
        """The entry of a task by its key and aliases, the key first; None if there is none."""
        by_name = {entry.name: entry for entry in self.tasks}
        return next((by_name[name] for name in names if name in by_name), None)

    def task_configs(self) -> dict[str, dict[str, Any]]:
        """Configs of tasks that fit the files, by the names that the file gives them.

        Raises:
            DataError: If a name is that of no task.
        """
        known = known_tasks()
        configs = {}
        for entry in self.tasks:
            if entry.name not in known:
                raise DataError(f'{entry.where}: no such task. {suggest(entry.name, known)}')
            kind = known[entry.name]
            configs[entry.name] = dict(type=kind.__name__, **entry.build(kind).task_options())
        return configs

    def choose(self, split: str, stems: Sequence[str], backend_args: Any = None) -> list[str]:
        """The pictures of a split.

        Args:
            split (str): Its name.
            stems (Sequence[str]): All pictures.
            backend_args (dict | None): File backend, for list files.

        Raises:
            DataError: If there is no such split, or its list cannot be read.
        """
        if split not in self.splits:
            hint = suggest(split, self.splits) if self.splits else 'It names none.'
            raise DataError(
                f"{self.path}: has no split '{split}'. {hint} Add one under `splits`: a list file "
                '(splits/train.txt), a folder below the pictures (train/), names, or a share (0.8).'
            )
        given = self.splits[split]
        if isinstance(given, float):
            return self._share(split, stems)
        if isinstance(given, str) and given.endswith('/'):
            return [stem for stem in stems if stem.startswith(given)]
        names = given
        if isinstance(given, str):
            path = f'{self.path.rpartition("/")[0]}/{given}'
            lines = read_bytes(path, backend_args).decode('utf-8-sig').splitlines()
            names = [line.strip() for line in lines if line.strip()]
        return [without_ending(name) for name in names]

    def _share(self, split: str, stems: Sequence[str]) -> list[str]:
        """Pictures by a hash of their names: new ones move none of the others."""
        begin = 0.0
        for name, share in self.splits.items():
            if name == split:
                break
            begin += share if isinstance(share, float) else 0.0
        end = begin + float(self.splits[split])  # type: ignore[arg-type]
        return [stem for stem in stems if begin <= _place(stem) < end]


def _place(stem: str) -> float:
    """A number in [0, 1) that depends on nothing but the name."""
    return int.from_bytes(hashlib.sha256(stem.encode()).digest()[:6], 'big') / 2**48


def without_ending(name: str) -> str:
    """The stem of a picture that a list names, with or without its ending."""
    low = name.lower()
    ending = next((e for e in PICTURE_ENDINGS if low.endswith(e)), '')
    return name[: len(name) - len(ending)]


def known_tasks() -> dict[str, type[BaseTask]]:
    """Key or alias to task; of tasks that share a key, the one that introduced it."""
    TASKS.import_from_location()
    found = {}
    for kind in TASKS.module_dict.values():
        if 'key' in vars(kind):
            found.update(dict.fromkeys((kind.key, *kind.aliases), kind))
    return found


def read_description(
    data_root: str, name: str = DESCRIPTION, backend_args: dict[str, Any] | None = None
) -> Description:
    """Read the description of a folder data set.

    Raises:
        DataError: If the file is missing, no YAML, or has keys or values that mean nothing.
    """
    path = f'{data_root}/{name}'
    if not fileio.exists(path, backend_args=backend_args):
        there = fileio.exists(data_root, backend_args=backend_args)
        what = f"'{data_root}' has no '{name}'" if there else f"'{data_root}' does not exist"
        raise DataError(
            f'FolderDataset: {what}. Set `data_root` to the folder of the data; '
            "docs/datasets.md, 'Your own data', says what belongs into it."
        )
    try:
        content = yaml.safe_load(read_bytes(path, backend_args).decode('utf-8-sig'))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f'{path}: is no YAML: {" ".join(str(error).split())}') from error
    top = _mapping(content, path)
    _check_keys(top, _TOP, path)
    tasks = _mapping(top.get('tasks'), f'{path}: tasks')
    images = top.get('images', 'images')
    place = dict(folder=images) if isinstance(images, str) else _mapping(images, f'{path}: images')
    _check_keys(place, _PLACE, f'{path}: images')
    return Description(
        path,
        _files(place, 'images', PICTURE_ENDINGS),
        tuple(_entry(path, str(key), value) for key, value in tasks.items()),
        _splits(path, top.get('splits')),
        _intrinsics(path, top.get('intrinsics')),
        str(top.get('name', '')),
    )


def _entry(path: str, name: str, value: Any) -> TaskFolder:
    where = f'{path}: tasks.{name}'
    options = dict(_mapping(value if value is not None else {}, where))
    format_name = options.pop('format', None)
    if format_name is not None and format_name not in FORMATS:
        raise DataError(f'{where}.format is {format_name!r}. {suggest(str(format_name), FORMATS)}')
    files = _files(options, name, MAP_ENDINGS)
    for key in _PLACE:
        options.pop(key, None)
    return TaskFolder(name, files, format_name, options, where)


def _files(place: Mapping[str, Any], folder: str, endings: tuple[str, ...]) -> MapFiles:
    if 'ending' in place:
        endings = (str(place['ending']),)
    return MapFiles((str(place.get('folder', folder)).strip('/'),), endings)


def _splits(path: str, given: Any) -> dict[str, Split]:
    if given is None:
        return {}
    splits: dict[str, Split] = {}
    for name, value in _mapping(given, f'{path}: splits').items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = float(value)
        elif isinstance(value, list):
            value = [str(item) for item in value]
        elif not isinstance(value, str):
            raise DataError(
                f'{path}: splits.{name} is {value!r}; give a list file (splits/train.txt), a '
                'folder below the pictures (train/), a list of names, or a share (0.8).'
            )
        splits[str(name)] = value
    shares = [value for value in splits.values() if isinstance(value, float)]
    if shares and (min(shares) <= 0 or sum(shares) > 1 + 1e-9 or len(shares) < len(splits)):
        raise DataError(
            f'{path}: splits {splits} mix shares with lists, or the shares are not positive with '
            'a sum of at most 1. Give all splits as shares, such as train: 0.8 and val: 0.2, or '
            'none.'
        )
    return splits


def _intrinsics(path: str, given: Any) -> tuple[float, ...] | None:
    if given is None:
        return None
    where = f'{path}: intrinsics'
    if not isinstance(given, list) or len(given) != 4:
        raise DataError(f'{where} is {given!r}; expected [fx, fy, cx, cy] in pixels.')
    return tuple(number(value, where) for value in given)


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        got = 'empty' if value is None else f'{value!r}'
        raise DataError(f'{where}: is {got}, expected keys with values.')
    return value


def _check_keys(value: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in value:
        if key not in known:
            raise DataError(f"{where}: has an unknown key '{key}'. {suggest(str(key), known)}")
