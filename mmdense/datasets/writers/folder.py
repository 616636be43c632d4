"""Writer of folder data sets."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mmdense.utils import DataError
from mmdense.utils.files import atomic_write_text

from ..folder_description import DESCRIPTION
from ..reading import LIBRARY_AXES, axis_signs
from .base import Array, Encoder, LayoutWriter, class_ids
from .encode import encode_normals, png_bytes

#: Stored value of unknown pixels in maps of zeros and ones.
_UNKNOWN_BIT = 128


def _labels(labels: Array) -> Array:
    return class_ids(labels, range(255), 255, 'A folder data set').astype(np.uint8)


def _millimetres(depth: Array) -> Array:
    stored = np.rint(depth * 1000.0)
    if stored.max(initial=0) > 65535:
        raise DataError(
            f'FolderWriter: depth of {depth.max():.1f} m does not fit 16-bit millimetres (65.5 m).'
        )
    return stored.astype(np.uint16)


def _normals(normals: Array) -> Array:
    return encode_normals(normals, axis_signs(LIBRARY_AXES))


def _bits(bits: Array) -> Array:
    return np.where(bits == 255, _UNKNOWN_BIT, bits * 255).astype(np.uint8)


_Kind = tuple[dict[str, Any], Callable[[Array], Array]]
_LABELS: _Kind = (dict(invalid=[255]), _labels)
_BINARY: _Kind = (dict(one=255, invalid=[_UNKNOWN_BIT]), _bits)
#: Task to what the file says about its maps, and how one is encoded.
_KINDS: dict[str, _Kind] = dict(
    semseg=_LABELS,
    depth=(dict(unit='mm', invalid=[0]), _millimetres),
    normal=(dict(axes=LIBRARY_AXES, min_length=0.1), _normals),
    boundary=_BINARY,
    saliency=_BINARY,
    part=_LABELS,
)


def _png(key: str, gt: Array) -> bytes:
    return png_bytes(_KINDS[key][1](gt))


class FolderWriter(LayoutWriter):
    """A folder per task and ``dataset.yml``, which :class:`~mmdense.datasets.FolderDataset` reads.

    Everything is PNG: labels as they are with 255 unknown, depth in millimetres (16 bit, rounded),
    normals in 8 bit, boundaries and saliency 0 and 255 with 128 unknown::

        images/<id>.png    <task>/<id>.png    splits/{train,val,test}.txt    dataset.yml

    Args:
        root (str | Path): Folder of the data set.
        classes (Mapping): Task key to class names, for the tasks of labels.
        tasks (Sequence[str]): Tasks to write.
        overwrite (bool): Whether files that exist are written anew.
        name (str): What ``dataset.yml`` calls the data set.

    Raises:
        ValueError: If a task has no encoding here, or a task of labels no classes.
    """

    tasks = tuple(_KINDS)

    def __init__(
        self,
        root: str | Path,
        classes: Mapping[str, Sequence[str]],
        tasks: Sequence[str] = tuple(_KINDS),
        overwrite: bool = False,
        name: str = '',
    ) -> None:
        super().__init__(root, overwrite)
        wrong = [key for key in tasks if key not in _KINDS]
        wrong += [key for key in tasks if _KINDS.get(key) is _LABELS and key not in classes]
        if wrong:
            raise ValueError(
                f"FolderWriter: task '{wrong[0]}' has no encoding, or no `classes`. Known tasks: "
                f'{", ".join(_KINDS)}.'
            )
        self.classes = classes
        self.keys = tuple(tasks)
        self.title = name

    def default_id(self, split: str, index: int) -> str:
        # One folder holds all splits.
        return f'{split}_{index:05d}'

    def paths(self, split: str, name: str) -> dict[str, Path]:
        folders = dict(img='images', **{key: key for key in self.keys})
        return {key: self.root / folder / f'{name}.png' for key, folder in folders.items()}

    def encoders(self, name: str, sample: Mapping[str, Any]) -> dict[str, Encoder]:
        gt = sample.get('gt', {})
        found: dict[str, Encoder] = {'img': lambda: png_bytes(sample['img'])}
        for key in self.keys:
            if key in gt:
                found[key] = partial(_png, key, gt[key])
        return found

    def finish(self) -> None:
        for split, names in self.names.items():
            self.write_list(f'splits/{split}.txt', list(names))
        lists = {path.stem: f'splits/{path.name}' for path in self.root.glob('splits/*.txt')}
        content: dict[str, Any] = dict(name=self.title) if self.title else {}
        content.update(images='images', tasks={key: self._entry(key) for key in self.keys})
        # The usual order; lists of the user's own stay.
        order = [split for split in ('train', 'val', 'test') if split in lists]
        content['splits'] = {
            split: lists[split] for split in (*order, *sorted({*lists} - {*order}))
        }
        text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100)
        atomic_write_text(self.root / DESCRIPTION, text)

    def _entry(self, key: str) -> dict[str, Any]:
        entry = copy.deepcopy(_KINDS[key][0])  # YAML would write an alias for a shared list
        return dict(classes=list(self.classes[key]), **entry) if key in self.classes else entry
