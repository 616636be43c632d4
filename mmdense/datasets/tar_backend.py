"""Data sets of millions of files as a few archives that are read in place."""

from __future__ import annotations

import bisect
import functools
import io
import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import print_log

from mmdense.utils import DataError
from mmdense.utils.files import atomic_write_bytes

_BLOCK = 512
_END = bytes(2 * _BLOCK)


class TarArchive:
    """An uncompressed tar whose members are read by their offset.

    The index, a sorted table of name, offset and size, is made by one walk over the headers
    and kept in ``<archive>.index.npy``, which later processes map into memory: data workers
    share one copy, and a start costs nothing. If the folder is read-only, the index is made
    anew by each start.

    Reading is safe in forked workers and in threads: ``os.pread`` moves no file position.

    Args:
        path (str): The archive.
        stamp (tuple[int, int]): Its size and time of change in nanoseconds; an index of
            another stamp is made again.

    Raises:
        DataError: If the archive is compressed, damaged or cut off.
    """

    def __init__(self, path: str, stamp: tuple[int, int]) -> None:
        self.path = path
        self.size = stamp[0]
        # Open as long as the object lives.
        self.file = open(path, 'rb', buffering=0)  # noqa: SIM115
        table = self._cached(stamp)
        if table is None:
            table = self._keep(stamp, self._walk())
        # A plain view of the mapped memory; memmap objects are slow to index.
        columns = np.asarray(table)
        self.names, self.offsets, self.sizes = (columns[k] for k in ('name', 'offset', 'size'))

    def __del__(self) -> None:
        if hasattr(self, 'file'):
            self.file.close()

    # -- the index ------------------------------------------------------------

    @property
    def _cache(self) -> str:
        return f'{self.path}.index.npy'

    def _cached(self, stamp: tuple[int, int]) -> np.ndarray | None:
        """The index beside the archive, if it is there, whole and of this archive."""
        try:
            table = np.load(self._cache, mmap_mode='r', allow_pickle=False)
        except FileNotFoundError:
            return None
        except (ValueError, EOFError, OSError) as error:
            print_log(f"'{self._cache}' is damaged ({error}) and made again.", 'current', 30)
            return None
        if table.ndim != 1 or not len(table) or table.dtype.names != ('name', 'offset', 'size'):
            return None
        # The first row is the stamp of the archive.
        first = table[0]
        if (first['name'], int(first['offset']), int(first['size'])) != (b'', *stamp):
            return None
        return table[1:]

    def _walk(self) -> list[tuple[bytes, int, int]]:
        """Name, offset and size of the regular files, sorted by name."""
        found: dict[bytes, tuple[int, int]] = {}
        links: list[tuple[bytes, bytes]] = []
        try:
            with tarfile.open(self.path, 'r:') as archive:
                for member in archive:
                    name = _clean(member.name)
                    if member.islnk():
                        links.append((name, _clean(member.linkname)))
                    elif member.isreg():
                        if member.issparse():
                            raise tarfile.ReadError(f"member '{member.name}' is sparse")
                        found[name] = (member.offset_data, member.size)
                end = archive.offset
        except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
            raise DataError(
                f'{self.path}: is no complete uncompressed tar archive ({error}). Pack it again '
                'without compression, or download it again.'
            ) from error
        # The module takes a damaged header for the end, so what it stopped at is looked at.
        if os.pread(self.file.fileno(), _BLOCK, end) != _END[:_BLOCK]:
            raise DataError(
                f'{self.path}: the archive is damaged or cut off at byte {end} of {self.size}: no '
                'end mark is there. Download or pack it again.'
            )
        for name, target in links:
            if target in found:
                found[name] = found[target]
        return sorted((name, *place) for name, place in found.items())

    def _keep(self, stamp: tuple[int, int], rows: list[tuple[bytes, int, int]]) -> np.ndarray:
        width = max((len(row[0]) for row in rows), default=1)
        columns = [('name', f'S{max(width, 1)}'), ('offset', '<i8'), ('size', '<i8')]
        table = np.array([(b'', *stamp), *rows], columns)
        content = io.BytesIO()
        np.save(content, table)
        try:
            atomic_write_bytes(self._cache, content.getvalue())
        except OSError as error:
            print_log(
                f"The index of '{self.path}' cannot be kept beside it ({error}); every start will "
                'walk the archive again. Make the folder writable to spare that.',
                'current',
                30,
            )
            return table[1:]
        kept = self._cached(stamp)
        return table[1:] if kept is None else kept

    def _row(self, name: bytes) -> int | None:
        row = bisect.bisect_left(self.names, name)
        return row if row < len(self.names) and self.names[row] == name else None

    def _below(self, folder: bytes) -> slice:
        """Rows of the members below a folder; b'' is the archive itself."""
        if not folder:
            return slice(0, len(self.names))
        # '0' follows '/', so this is where names that begin with 'folder/' end.
        low = bisect.bisect_left(self.names, folder + b'/')
        return slice(low, bisect.bisect_left(self.names, folder + b'0', lo=low))

    # -- members --------------------------------------------------------------

    def isfile(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return self._row(_clean(name)) is not None

    def isdir(self, name: str) -> bool:
        """Whether there are files below this name."""
        rows = self._below(_clean(name))
        return not _clean(name) or rows.stop > rows.start

    def members(self, folder: str) -> list[str]:
        """Names of all files below ``folder``, relative to it, sorted."""
        prefix = _clean(folder)
        skip = len(prefix) + 1 if prefix else 0
        return [os.fsdecode(name[skip:]) for name in self.names[self._below(prefix)].tolist()]

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: If there is none of this name.
            DataError: If the archive ends before the file does.
        """
        row = self._row(_clean(name))
        if row is None:
            raise FileNotFoundError(f"'{name}' is not in '{self.path}'")
        offset, size = int(self.offsets[row]), int(self.sizes[row])
        parts, done = [], 0
        while done < size:
            part = os.pread(self.file.fileno(), size - done, offset + done)
            if not part:
                raise DataError(
                    f"{self.path}: the archive ends inside '{name}', after {done} of {size} bytes. "
                    'Download or pack it again.'
                )
            parts.append(part)
            done += len(part)
        return b''.join(parts)


def _clean(name: str) -> bytes:
    """``./a//b/`` to ``a/b``; bytes, because names need not be valid text."""
    return os.fsencode('/'.join(part for part in name.split('/') if part not in ('', '.')))


@functools.lru_cache(maxsize=128)
def _opened(path: str, stamp: tuple[int, int]) -> TarArchive:
    """Archives stay open, the latest 128 of them, so that file handles do not run out."""
    return TarArchive(path, stamp)


class TarShardBackend(LocalBackend):
    """Files inside uncompressed tar archives, as if the archives were folders.

    ``backend_args=dict(backend='tar_shards')``: in ``data/adel.tar/rgb/x.png`` the file
    ``rgb/x.png`` is read from the archive ``data/adel.tar``. Paths without an archive are
    those of the local disk, so that lists may lie beside the archives. Any data set reads so:
    ``data_root='data/nyud.tar'``. For how, and for the index that makes it fast, see
    :class:`TarArchive`. Archives are only read.
    """

    def _find(self, path: str | Path) -> tuple[TarArchive, str] | None:
        """The archive and the name inside; None for a path of the local disk."""
        parts = str(path).split('/')
        for depth, part in enumerate(parts, 1):
            if not part.lower().endswith('.tar'):
                continue
            archive = '/'.join(parts[:depth])
            try:
                stat = os.stat(archive)
            except FileNotFoundError:
                return None
            if not os.path.isdir(archive):
                opened = _opened(archive, (stat.st_size, stat.st_mtime_ns))
                return opened, '/'.join(parts[depth:])
        return None

    def get(self, filepath: str | Path) -> bytes:
        found = self._find(filepath)
        if found is None or not found[1]:
            return super().get(filepath)
        return found[0].read(found[1])

    def get_text(self, filepath: str | Path, encoding: str = 'utf-8') -> str:
        return self.get(filepath).decode(encoding)

    def exists(self, filepath: str | Path) -> bool:
        return self.isfile(filepath) or self.isdir(filepath)

    def isfile(self, filepath: str | Path) -> bool:
        found = self._find(filepath)
        return super().isfile(filepath) if found is None else found[0].isfile(found[1])

    def isdir(self, filepath: str | Path) -> bool:
        found = self._find(filepath)
        return super().isdir(filepath) if found is None else found[0].isdir(found[1])

    @contextmanager
    def get_local_path(self, filepath: str | Path) -> Iterator[str | Path]:
        """The path itself, or that of a copy which is removed afterwards."""
        if self._find(filepath) is None:
            yield filepath
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / Path(filepath).name
            copy.write_bytes(self.get(filepath))
            yield copy

    def list_dir_or_file(
        self,
        dir_path: str | Path,
        list_dir: bool = True,
        list_file: bool = True,
        suffix: str | tuple[str, ...] | None = None,
        recursive: bool = False,
    ) -> Iterator[str]:
        """As of the local backend: files and folders relative to ``dir_path``."""
        found = self._find(dir_path)
        if found is None:
            yield from super().list_dir_or_file(dir_path, list_dir, list_file, suffix, recursive)
            return
        folders: set[str] = set()
        for name in found[0].members(found[1]):
            *above, last = name.split('/')
            folders.update('/'.join(above[:depth]) for depth in range(1, len(above) + 1))
            shown = not last.startswith('.') and (suffix is None or last.endswith(suffix))
            if list_file and shown and (recursive or not above):
                yield name
        if list_dir:
            yield from sorted(name for name in folders if recursive or '/' not in name)

    def put(self, obj: bytes, filepath: str | Path) -> None:
        self._refuse(filepath)
        super().put(obj, filepath)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        self._refuse(filepath)
        super().put_text(obj, filepath, encoding)

    def _refuse(self, path: Any) -> None:
        if self._find(path) is not None:
            raise OSError(f"'{path}' lies in an archive, and archives are only read.")


register_backend('tar_shards', TarShardBackend, force=True)
