"""Own pictures: a folder per task, and one file that says what is in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdense.registry import DATASETS
from mmdense.tasks import build_tasks
from mmdense.utils import DataError, suggest

from .file_lists import ListedDataset, MapFiles
from .folder_description import DESCRIPTION, Description, known_tasks, read_description
from .folder_formats import DepthFormat, LabelFormat, MapFormat
from .reading import folder_index

Array = np.ndarray


@DATASETS.register_module()
class FolderDataset(ListedDataset):
    """Pictures in one folder, maps in a folder per task, and a ``dataset.yml``::

        data_root/dataset.yml
                  images/<stem>.jpg      semseg/<stem>.png      depth/<stem>.png      ...

    The file names folders, units, invalid values, axes, classes and splits::

        images: images
        tasks:
          semseg: {classes: [wall, floor, chair], invalid: [255]}
          depth: {unit: mm, invalid: [0]}
          normal: {axes: opencv}
          boundary: {}
        splits: {train: 0.8, val: 0.2}

    Names of tasks are their keys or aliases. What an entry may say depends on the format of its
    maps: :mod:`~.folder_formats` has them, each usual for some kind of tasks; ``format`` names
    another. ``folder`` and ``ending`` say where maps are if not in a folder of the task's name,
    with the stem of the picture and ``.png``, ``.npy`` or ``.tif``. Folders may have folders
    below, in which the stems repeat. A picture without the file of a task lacks that task.

    A split is a list file (relative to ``data_root``; stems, with or without ending), a folder
    below the pictures (``train/``), a list of stems, or a share of all pictures, which are then
    dealt out by a hash of their names. ``intrinsics: [fx, fy, cx, cy]``, in pixels with the
    centre of the first pixel at 0.5, is for pictures of one camera and size.

    Args:
        tasks (Mapping): Any of those in the file.
        data_root (str): The folder.
        split (str | None): A split of the file. None: all pictures.
        description (str): Name of the file.
        **kwargs: As in :class:`BaseDenseDataset`.

    Raises:
        DataError: If the file is missing or says what means nothing, pictures of the split are
            missing, or no file of a task is there.
        KeyError: If a task is not in the file.
        ValueError: If the file has another number of classes, or another kind of depth, than a
            task.
    """

    setup_hint = "docs/datasets.md, 'Your own data', has the layout."

    def __init__(
        self,
        tasks: Mapping[str, Any],
        data_root: str = 'data/folder',
        split: str | None = 'train',
        description: str = DESCRIPTION,
        **kwargs: Any,
    ) -> None:
        self.split = split
        self.description: Description = read_description(
            data_root, description, kwargs.get('backend_args')
        )
        self.available_tasks = _keys(self.description)  # type: ignore[misc]
        self.formats: dict[str, MapFormat] = {}
        self._files: dict[str, MapFiles] = {}
        built = build_tasks(tasks)
        for key, task in built.items():
            entry = self.description.entry((key, *task.aliases))
            if entry is None:
                raise KeyError(
                    f"{self.description.path} has no entry for task '{key}'. "
                    f'{suggest(key, self.available_tasks)} Add it under `tasks`, or take the task '
                    'out of the config.'
                )
            self.formats[key] = entry.build(type(task))
            self._files[key] = entry.files
        # A task of the user's own has the name that its entry has.
        self.available_tasks = tuple(dict.fromkeys((*built, *self.available_tasks)))  # type: ignore[misc]
        self.pictures = self.description.images
        metainfo = {**self._meta(), **(kwargs.pop('metainfo', None) or {})}
        super().__init__(built, data_root=data_root, metainfo=metainfo, **kwargs)

    def _meta(self) -> dict[str, Any]:
        """What the file says about the data set as a whole."""
        classes = {
            key: fmt.classes for key, fmt in self.formats.items() if isinstance(fmt, LabelFormat)
        }
        kinds = [fmt.kind for fmt in self.formats.values() if isinstance(fmt, DepthFormat)]
        meta: dict[str, Any] = dict(depth_kind=kinds[0]) if kinds else {}
        if 'semseg' in classes:
            meta['classes'] = classes.pop('semseg')
        return dict(meta, task_classes=classes)

    def map_files(self) -> dict[str, MapFiles]:
        return self._files

    def index(self, source: MapFiles) -> dict[str, str]:
        root = f'{self.data_root}/{source.folders[0]}'
        found = folder_index(root, source.endings, self.backend_args, recursive=True)
        return {stem: f'{root}/{name}' for stem, name in found.items()}

    def stems(self) -> Sequence[str]:
        every = sorted(self.index(self.pictures))
        if not every:
            raise DataError(
                f"FolderDataset: there is no picture in '{self.data_root}' below {self.pictures}. "
                f'{self.description.path} names the folder under `images`.'
            )
        if self.split is None:
            return every
        return self.description.choose(self.split, every, self.backend_args)

    @property
    def list_name(self) -> str:
        return f'{self.description.path}, split {self.split}'

    def read_gt(self, key: str, files: Mapping[str, str], size: tuple[int, int]) -> Array:
        return self.formats[key].read(files[key], self.tasks[key], self.backend_args)

    def read_sample(self, info: dict[str, Any]) -> dict[str, Any]:
        sample = super().read_sample(info)
        if self.description.intrinsics is not None:
            fx, fy, cx, cy = self.description.intrinsics
            sample['intrinsics'] = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)
        return sample


def _keys(description: Description) -> tuple[str, ...]:
    """Keys of the tasks of a file; the name itself for a task that is not the library's."""
    known = known_tasks()
    names = [entry.name for entry in description.tasks]
    return tuple(known[name].key if name in known else name for name in names)
