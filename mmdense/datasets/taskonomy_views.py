"""Millions of views in little memory, and the lists that say which there are."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from mmdense.utils import DataError, suggest
from mmdense.utils.files import atomic_write_text

from .reading import Array, read_bytes


class ViewList(Sequence[dict[str, Any]]):
    """The views of all buildings as three arrays; an entry is made when it is asked for.

    A view takes about 25 bytes, so that the 4.6 million of the whole data set fit in 120 MB,
    which data workers share with the process that made them.

    Args:
        buildings (Sequence[str]): Names of the buildings.
        keys (Sequence[str]): Names of the maps, at most 32.
        building (Array): Number of the building of each view, ``(N,)``.
        view (Array): Name of each view, ``(N,)`` bytes.
        present (Array): ``(N,)`` uint32; bit k says that the view has map ``keys[k]``.
    """

    def __init__(
        self,
        buildings: Sequence[str],
        keys: Sequence[str],
        building: Array,
        view: Array,
        present: Array,
    ) -> None:
        self.buildings, self.keys = tuple(buildings), tuple(keys)
        self.building, self.view, self.present = building, view, present

    @classmethod
    def join(
        cls, keys: Sequence[str], parts: Mapping[str, tuple[Sequence[str], Array]]
    ) -> ViewList:
        """From building to its views and their ``present`` bits."""
        sizes = [len(views) for views, _ in parts.values()]
        return cls(
            list(parts),
            keys,
            np.repeat(np.arange(len(parts), dtype=np.uint16), sizes),
            # One array per building first: the list of all names would take gigabytes.
            np.concatenate(
                [np.array([v.encode() for v in views], 'S') for views, _ in parts.values()]
                or [np.zeros(0, 'S1')]
            ),
            np.concatenate(
                [present for _, present in parts.values()] or [np.zeros(0, np.uint32)]
            ).astype(np.uint32),
        )

    def count(self, key: Any) -> int:
        """Number of views that have map ``key``."""
        return int((self.present >> np.uint32(self.keys.index(key)) & np.uint32(1)).sum())

    def __len__(self) -> int:
        return len(self.view)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> ViewList: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | ViewList:
        if isinstance(index, slice):
            arrays = (self.building[index], self.view[index], self.present[index])
            return ViewList(self.buildings, self.keys, *arrays)
        bits = int(self.present[index])
        building = self.buildings[self.building[index]]
        return dict(
            sample_id=f'{building}/{self.view[index].decode()}',
            domains=tuple(key for k, key in enumerate(self.keys) if bits >> k & 1),
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[i] for i in range(len(self)))


def read_view_index(
    path: str, backend_args: dict[str, Any] | None = None
) -> dict[str, frozenset[str] | None]:
    """Views of a building to their domains, from its index.

    A line is the name of a view and the domains that it has,
    ``point_0_view_0 rgb depth_zbuffer normal``. A line of the view alone gives None: the
    domains are not known.

    Raises:
        DataError: If a line is no view.
    """
    text = read_bytes(path, backend_args).decode(errors='replace')
    # Most lines share their domains; one set serves them all.
    known: dict[str, frozenset[str] | None] = {'': None}
    views: dict[str, frozenset[str] | None] = {}
    for number, line in enumerate(text.splitlines(), 1):
        view, _, rest = line.strip().partition(' ')
        if not view or view.startswith('#'):
            continue
        if not view.startswith('point_') or '_view_' not in view:
            raise DataError(
                f"{path}: line {number} is '{line[:80]}', expected 'point_<p>_view_<v>' and the "
                'domains of the view. Remove the file, and the folders are listed instead.'
            )
        if rest not in known:
            known[rest] = frozenset(rest.split())
        views[view] = known[rest]
    return views


def write_view_index(path: str | Path, views: Mapping[str, Iterable[str]]) -> None:
    """Write what :func:`read_view_index` reads; the file is either whole or not there."""
    lines = (' '.join((view, *sorted(domains))) + '\n' for view, domains in sorted(views.items()))
    atomic_write_text(path, ''.join(lines))


def read_split_table(
    path: str, split: str, backend_args: dict[str, Any] | None = None
) -> list[str]:
    """Buildings of a split from the authors' table, ``id,train,val,test`` with 0 and 1.

    Raises:
        DataError: If the table has other columns, or no building of the split.
    """
    text = read_bytes(path, backend_args).decode(errors='replace')
    try:
        rows = list(csv.DictReader(io.StringIO(text.lstrip('\ufeff')), skipinitialspace=True))
    except csv.Error as error:
        raise DataError(f'{path}: is no table of comma-separated values ({error}).') from error
    columns = [column for column in (rows[0] if rows else ()) if column]
    if 'id' not in columns or split not in columns:
        raise DataError(
            f"{path}: has the columns {columns}, expected 'id' and '{split}'. "
            f'{suggest(split, [c for c in columns if c != "id"])}'
        )
    found = [
        row['id'].strip() for row in rows if (row[split] or '').strip() in ('1', '1.0', 'True')
    ]
    if not found:
        raise DataError(
            f"{path}: no building has a 1 in column '{split}'. Ask for splits that the table has "
            '(--splits of the converter), or complete it.'
        )
    return found
