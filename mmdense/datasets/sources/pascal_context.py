"""PASCAL-Context with five tasks, put together from its primary sources.

The files are copied as they are: nothing is decoded and encoded again. Only a segmentation
that is asked for and not given is derived, from the context categories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmdense.utils import DataError

from ..matlab import read_mat
from ..pascal_context import PASCAL_CLASSES
from ..pascal_normals import NUM_CONTEXT_CATEGORIES
from ..reading import read_list
from ..writers.encode import png_bytes
from .mat_file import MatFile

Array = np.ndarray

#: Classes of VOC whose name in PASCAL-Context differs.
_CONTEXT_NAMES = {'diningtable': 'table'}
#: Category of pixels that nobody could name.
_UNKNOWN = 'unknown'


@dataclass(frozen=True)
class PASCALFolders:
    """Where the primary sources lie; None where a source is not used.

    Attributes:
        images: ``VOCdevkit/VOC2010/JPEGImages``.
        context: ``trainval`` of PASCAL-Context, ``<id>.mat`` with LabelMap.
        parts: ``Annotations_Part`` of PASCAL-Part.
        normals: Distilled normals, ``<id>.png``.
        saliency: Distilled saliency, ``<id>.png``.
        semseg: 21-class labels, ``<id>.png``; pictures without one get labels derived from
            ``context``.
    """

    images: Path
    context: Path | None = None
    parts: Path | None = None
    normals: Path | None = None
    saliency: Path | None = None
    semseg: Path | None = None


class PASCALContextSource:
    """The primary sources of PASCAL-Context.

    Args:
        folders (PASCALFolders): Where they lie.
        lists (Mapping[str, Path]): Split to the list of its ids.
        names (Mapping[int, str] | None): Context categories, number to name, to derive labels.

    Raises:
        DataError: If a folder or a list is missing, or files of listed pictures are.
    """

    def __init__(
        self,
        folders: PASCALFolders,
        lists: Mapping[str, Path],
        names: Mapping[int, str] | None = None,
    ) -> None:
        self.pictures = {split: read_list(str(path)) for split, path in lists.items()}
        self.images = folders.images
        #: Key of the writer's path to the folder and ending of its source.
        self.folders = {
            key: (folder, ending)
            for key, folder, ending in (
                ('boundary', folders.context, '.mat'),
                ('part', folders.parts, '.mat'),
                ('normal', folders.normals, '.png'),
                ('saliency', folders.saliency, '.png'),
            )
            if folder is not None
        }
        self.semseg = folders.semseg
        self.table = None if names is None else voc_table(names)
        self._look()

    @property
    def tasks(self) -> Sequence[str]:
        derived = self.table is not None and 'boundary' in self.folders
        return (*self.folders, *(('semseg',) if self.semseg or derived else ()))

    def _look(self) -> None:
        """Every file before the first is copied."""
        ids = [name for names in self.pictures.values() for name in names]
        wanted = {'img': (self.images, '.jpg'), **self.folders}
        for key, (folder, ending) in wanted.items():
            missing = [name for name in ids if not (folder / f'{name}{ending}').is_file()]
            if missing:
                raise DataError(
                    f'PASCAL-Context: {len(missing)} of {len(ids)} pictures have no file of '
                    f"'{key}' in '{folder}', for example '{missing[0]}{ending}'. Complete the "
                    'folder, or leave its option out.'
                )

    @property
    def settings(self) -> dict[str, Any]:
        return dict(tasks=list(self.tasks))

    def ids(self) -> Mapping[str, Sequence[str]]:
        return self.pictures

    def read(self, split: str, index: int) -> dict[str, Any]:
        name = self.pictures[split][index]
        files: dict[str, Any] = {
            key: folder / f'{name}{ending}' for key, (folder, ending) in self.folders.items()
        }
        files['img'] = self.images / f'{name}.jpg'
        semseg = None if self.semseg is None else self.semseg / f'{name}.png'
        if semseg is not None and semseg.is_file():
            files['semseg'] = semseg
        elif self.table is not None and 'boundary' in files:
            files['semseg'] = lambda: png_bytes(self.derive(files['boundary']))
        return dict(sample_id=name, files=files)

    def derive(self, path: Path) -> Array:
        """21-class labels ``(H, W)`` uint8 from a file of context categories."""
        if self.table is None:
            raise DataError('PASCAL-Context: labels are derived with the names of the categories.')
        stored = np.asarray(read_mat(str(path), 'LabelMap'))
        if stored.ndim != 2 or stored.min() < 0 or stored.max() > NUM_CONTEXT_CATEGORIES:
            raise DataError(
                f'{path}: LabelMap is {stored.shape} with values from {stored.min()} to '
                f'{stored.max()}; expected (H, W) with 0 to {NUM_CONTEXT_CATEGORIES}.'
            )
        return self.table[stored.astype(np.intp)]


def voc_table(names: Mapping[int, str]) -> Array:
    """Context category ``(460,)`` to one of the 21 classes; 0 and 'unknown' to 255."""
    number = {name: one for one, name in names.items()}
    table = np.zeros(NUM_CONTEXT_CATEGORIES + 1, np.uint8)
    table[[0, *([number[_UNKNOWN]] if _UNKNOWN in number else [])]] = 255
    for index, name in enumerate(PASCAL_CLASSES):
        category = number.get(_CONTEXT_NAMES.get(name, name))
        if category is not None:
            table[category] = index
        elif index:
            raise DataError(
                f"PASCAL-Context: the names of the categories have no '{name}'. Take the "
                'labels.txt that comes with the annotations, 459 lines.'
            )
    return table


def read_nyu_names(path: str | Path) -> set[str]:
    """The 894 names of NYU: a text file of one name per line, or a ``.mat`` file.

    ``classMapping40.mat`` has them as ``allClassName``, ``nyu_depth_v2_labeled.mat`` as ``names``.

    Raises:
        DataError: If the file is missing or has none.
    """
    if Path(path).suffix != '.mat':
        return set(read_list(str(path)))
    file = MatFile(path, 'classMapping40.mat or nyu_depth_v2_labeled.mat')
    for name in ('allClassName', 'names'):
        if name in file.names():
            return set(file.strings(name))
    raise DataError(
        f"{path}: has the variables {file.names()}, expected 'allClassName' or 'names'. Or give a "
        'text file, one name per line.'
    )
