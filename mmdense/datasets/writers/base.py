"""What the writers of all layouts share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mmdense.utils import DataError
from mmdense.utils.files import atomic_write_bytes, atomic_write_text

from .encode import is_whole

Array = np.ndarray
#: One file of a picture: where it lies and how its bytes are made when they are needed.
Encoder = Callable[[], bytes]


class LayoutWriter(ABC):
    """Writes pictures with ground truth in the layout of a published data set.

    Arrays come in the conventions of the library (what ``read_sample`` of a data set
    returns) and leave in the encodings of the layout. Every file is whole or not there. A
    whole file that exists is kept, so a conversion that was stopped goes on where it was.
    The picture of a sample is written after its ground truth, and the lists of pictures by
    :meth:`finish`: without them no data set takes a half-done conversion for a whole one.

    Args:
        root (str | Path): Folder of the data set; made if needed.
        overwrite (bool): Whether files that exist are written anew.

    Attributes:
        names (dict): Split to the sample ids that :meth:`finish` will list, in order.
    """

    #: Tasks that the layout has files for.
    tasks: ClassVar[tuple[str, ...]]

    def __init__(self, root: str | Path, overwrite: bool = False) -> None:
        self.root = Path(root)
        self.overwrite = overwrite
        self.names: dict[str, dict[str, None]] = {}

    # -- for subclasses -----------------------------------------------------

    @abstractmethod
    def default_id(self, split: str, index: int) -> str:
        """Id of a sample that has none."""

    @abstractmethod
    def paths(self, split: str, name: str) -> dict[str, Path]:
        """``'img'`` and task keys to the files of a picture; several tasks may share one."""

    @abstractmethod
    def encoders(self, name: str, sample: Mapping[str, Any]) -> dict[str, Encoder]:
        """``'img'`` and the maps that sample ``name`` has to what makes their bytes."""

    @abstractmethod
    def finish(self) -> None:
        """Write the lists of pictures. To be called last."""

    # -- writing --------------------------------------------------------------

    def name(self, split: str, index: int, sample_id: str = '') -> str:
        """The id under which a picture is written."""
        return sample_id or self.default_id(split, index)

    def write(self, split: str, index: int, sample: Mapping[str, Any]) -> str:
        """Write one picture and the ground truth that it has.

        Args:
            split (str): 'train', 'val' or 'test'.
            index (int): Number of the picture in its split.
            sample (Mapping): ``img`` RGB uint8 ``(H, W, 3)``; ``gt`` task key to array, of
                any tasks (those the layout lacks are left out); ``sample_id``, else one is
                made of split and index; and what the layout needs besides. ``files``, by the
                keys of :meth:`paths`: what is in the encoding of the layout already, a file
                to copy or a function that returns the bytes.

        Returns:
            str: The id of the sample.

        Raises:
            DataError: If an array has an impossible shape or value.
        """
        name = self.name(split, index, str(sample.get('sample_id', '')))
        self._check(name, sample)
        paths = self.paths(split, name)
        encoders = self.encoders(name, sample)
        for key, made in sample.get('files', {}).items():
            encoders[key] = made if callable(made) else partial(_copied, made)
        for key in sorted(encoders, key=lambda key: key == 'img'):
            self.put(paths[key], encoders[key])
        self.record(split, name)
        return name

    def put(self, path: Path, encode: Encoder) -> None:
        """Write one file unless it is there."""
        if self.overwrite or not is_whole(path):
            atomic_write_bytes(path, encode())

    def record(self, split: str, name: str) -> None:
        """Have :meth:`finish` list a picture, for example one that another process wrote."""
        self.names.setdefault(split, {})[name] = None

    def done(self, split: str, name: str, tasks: Iterable[str]) -> bool:
        """Whether a picture and its ground truth of ``tasks`` are there and to be kept."""
        if self.overwrite:
            return False
        paths = self.paths(split, name)
        keys = ['img', *(key for key in tasks if key in paths)]
        return all(is_whole(paths[key]) for key in keys)

    def write_list(self, path: str, lines: Sequence[str]) -> None:
        """Write a text file below the root, one line each."""
        atomic_write_text(self.root / path, ''.join(f'{line}\n' for line in lines))

    def _check(self, name: str, sample: Mapping[str, Any]) -> None:
        where = f'{type(self).__name__}: sample {name!r}'
        if 'img' not in sample:
            return
        image = sample['img']
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise DataError(
                f'{where}: the picture is {image.dtype} {image.shape}, expected uint8 (H, W, 3), '
                'RGB.'
            )
        for key, value in sample.get('gt', {}).items():
            if value.shape[:2] != image.shape[:2]:
                raise DataError(
                    f"{where}: ground truth of task '{key}' is {value.shape[:2]} (H, W), the "
                    f'picture {image.shape[:2]}. Resize both together before writing.'
                )


def _copied(path: Path) -> bytes:
    if not is_whole(path):
        raise DataError(
            f'{path}: is missing, empty or cut short. Copy or download it again; what was '
            'converted so far is kept.'
        )
    return path.read_bytes()


def class_ids(labels: Array, table: Sequence[int], unknown: int, layout: str) -> Array:
    """Class indices to the ids of a layout.

    Args:
        labels (Array): ``(H, W)``, 0 .. n - 1 and 255 unknown.
        table (Sequence[int]): Id of each of the n classes.
        unknown (int): Id of unknown pixels.
        layout (str): Name for the message.

    Returns:
        Array: ``(H, W)`` int16.

    Raises:
        DataError: If a label is no class.
    """
    lookup = np.full(256, -32768, np.int16)
    lookup[: len(table)] = table
    lookup[255] = unknown
    found = np.unique(labels)
    bad = found[(found != 255) & ((found < 0) | (found >= len(table)))]
    if bad.size:
        raise DataError(
            f'{layout} has the classes 0..{len(table) - 1} and 255 (unknown); labels '
            f'{bad[:8].tolist()} were given. Map the classes of the source to those first.'
        )
    return lookup[labels.astype(np.uint8)]
