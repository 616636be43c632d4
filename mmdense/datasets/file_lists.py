"""What data sets of one file per picture and map share: finding files, saying what lacks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmengine.logging import print_log

from mmdense.utils import DataError

from .base import Array, BaseDenseDataset
from .reading import folder_index, read_image, read_list


class MapFiles(NamedTuple):
    """Where one kind of file lies.

    Attributes:
        folders (tuple[str, ...]): Below ``data_root``, in order of preference.
        endings (tuple[str, ...]): How names go on after the stem, in order of preference.
    """

    folders: tuple[str, ...]
    endings: tuple[str, ...]

    def __str__(self) -> str:
        return f"'{' or '.join(self.folders)}' ({' or '.join(self.endings)})"


class ListedDataset(BaseDenseDataset):
    """Base of data sets with a folder per map and files named by the stem of the picture.

    A subclass names the files of pictures (:attr:`pictures`) and of its kinds of maps
    (:meth:`map_files`) and reads one task of one picture (:meth:`read_gt`). Everything else
    is here: one listing per folder, pictures that are missing, tasks that a picture lacks,
    and a count of both before training starts.

    Each entry of the list holds ``sample_id`` (the stem), ``img_path`` and ``files``, name of
    the map to path.

    Raises:
        DataError: If pictures of the list are missing (with ``on_error='skip'``: all of them),
            or a task has no file for any picture.
    """

    #: Files of the pictures.
    pictures: MapFiles

    @abstractmethod
    def map_files(self) -> dict[str, MapFiles]:
        """Name of a map, which is the task key for the main one, to where its files are."""

    @abstractmethod
    def read_gt(self, key: str, files: Mapping[str, str], size: tuple[int, int]) -> Array:
        """Ground truth of task ``key`` from the files of one picture.

        Args:
            key (str): The task.
            files (Mapping[str, str]): Name of the map to path.
            size (tuple[int, int]): Height and width of the picture.

        Raises:
            DataError: If the file is damaged or holds impossible values.
        """

    def stems(self) -> Sequence[str]:
        """The pictures of the split, by default the lines of ``ann_file``."""
        return read_list(self.ann_file, self.backend_args)

    def subfolders(self) -> Sequence[str]:
        """Folders below those of :class:`MapFiles` that the files are spread over."""
        return ('',)

    def required(self, key: str) -> tuple[str, ...]:
        """Names of the maps without which a picture lacks task ``key``."""
        return (key,)

    def optional(self) -> tuple[str, ...]:
        """Names of further maps that are listed where they are, and required nowhere."""
        return ()

    def read_picture(self, path: str) -> Array:
        """The picture, RGB uint8 ``(H, W, 3)``."""
        return read_image(path, self.backend_args)

    # -- the list -------------------------------------------------------------

    def load_data_list(self) -> list[dict[str, Any]]:
        stems = self.stems()
        if not stems:
            return []
        pictures = self.index(self.pictures)
        self._check_pictures([stem for stem in stems if stem not in pictures], len(stems))
        folder, ending = self.pictures.folders[0], self.pictures.endings[0]
        entries: list[dict[str, Any]] = [
            # A missing picture keeps its place on the list and fails when it is read.
            dict(
                sample_id=stem,
                img_path=pictures.get(stem, f'{self.data_root}/{folder}/{stem}{ending}'),
                files={},
            )
            for stem in stems
        ]
        sources = self.map_files()
        wanted = [name for key in self.tasks for name in self.required(key)]
        for name in dict.fromkeys((*wanted, *self.optional())):
            found = self.index(sources[name])
            for entry in entries:
                if entry['sample_id'] in found:
                    entry['files'][name] = found[entry['sample_id']]
        for key in self.tasks:
            names = self.required(key)
            count = sum(all(name in entry['files'] for name in names) for entry in entries)
            self.report_task(key, [sources[name] for name in names], count, len(entries))
        return entries

    def index(self, source: MapFiles) -> dict[str, str]:
        """Stem to path; the first folder that has a stem wins."""
        found: dict[str, str] = {}
        for folder in reversed(source.folders):
            for below in self.subfolders():
                prefix = f'{below}/' if below else ''
                root = f'{self.data_root}/{folder}/{below}'.rstrip('/')
                names = folder_index(root, source.endings, self.backend_args)
                found.update({prefix + stem: f'{root}/{name}' for stem, name in names.items()})
        return found

    def _check_pictures(self, missing: Sequence[str], total: int) -> None:
        if not missing:
            return
        text = (
            f"{type(self).__name__}: {len(missing)} of {total} pictures of '{self.list_name}' are "
            f"not in '{self.data_root}' below {self.pictures}, for example '{missing[0]}'."
        )
        if self.on_error == 'raise' or len(missing) == total:
            raise DataError(f'{text} {self.setup_hint}')
        print_log(f"{text} on_error='skip' goes on without them.", logger='current', level=30)

    @property
    def list_name(self) -> str:
        """What the pictures were listed from, for messages."""
        return self.ann_file

    def report_task(self, key: str, sources: Sequence[MapFiles], count: int, total: int) -> None:
        """Say for how many pictures task ``key`` has files.

        Raises:
            DataError: If for none.
        """
        where = f"'{self.data_root}' below {' and '.join(map(str, sources))}"
        if count == 0:
            raise DataError(
                f"{type(self).__name__}: task '{key}' has no ground truth in {where} for any of "
                f"{total} pictures. Take '{key}' out of `tasks`, or put the files there. "
                f'{self.setup_hint}'
            )
        if count < total:
            print_log(
                f"{type(self).__name__}: {total - count} of {total} pictures lack task '{key}' in "
                f'{where}.',
                logger='current',
            )

    # -- one picture ----------------------------------------------------------

    def read_sample(self, info: dict[str, Any]) -> dict[str, Any]:
        files = info['files']
        img = self.read_picture(info['img_path'])
        keys = [key for key in self.tasks if all(name in files for name in self.required(key))]
        return dict(
            img=img,
            gt={key: self.read_gt(key, files, img.shape[:2]) for key in keys},
            gt_paths={key: files[self.required(key)[0]] for key in keys},
            img_path=info['img_path'],
            sample_id=info['sample_id'],
        )
