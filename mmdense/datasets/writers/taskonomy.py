"""Writer of the Taskonomy layout, in folders or in one archive per building."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmdense.utils import DataError
from mmdense.utils.files import atomic_write_text

from ..reading import axis_signs
from ..taskonomy import TASKONOMY_CLASSES
from ..taskonomy_views import write_view_index
from .base import Array, Encoder, LayoutWriter, class_ids
from .encode import encode_normals, png_bytes

#: ``'img'`` and task keys to their domains.
DOMAINS = dict(
    img='rgb', depth='depth_zbuffer', normal='normal', semseg='segment_semantic',
    edge_texture='edge_texture', edge_occlusion='edge_occlusion', keypoints2d='keypoints2d',
    keypoints3d='keypoints3d', reshading='reshading', principal_curvature='principal_curvature',
)  # fmt: skip
#: What stands at the end of file names where it is not the name of the domain.
SUFFIXES = {'segment_semantic': 'segmentsemantic'}
#: Domains that hold a number in [0, 1] in 16 bit.
_WIDE = ('edge_texture', 'edge_occlusion', 'keypoints2d', 'keypoints3d')
#: Stored depth where the scan has no geometry.
NO_GEOMETRY = 65535
_NAME = re.compile(r'([^/]+)/(point_\d+_view_\d+)')


class TaskonomyWriter(LayoutWriter):
    """The Taskonomy layout.

    ::

        <building>/<domain>/point_<p>_view_<v>_domain_<domain>.png
        splits/<prefix>_{train,val,test}.txt     one building per line
        splits/train_val_test_<prefix>.csv       id,train,val,test with a 1 in one column
        index/<building>.txt                     a view and its domains per line

    Reads ``semseg`` (17 classes), ``depth`` (metres, stored as 1/512 m, 65535 unknown),
    ``normal``, ``edge_texture``, ``edge_occlusion``, ``keypoints2d``, ``keypoints3d``,
    ``reshading`` (all in [0, 1]) and ``principal_curvature`` (in [-1, 1]). Sample ids are
    ``<building>/point_<p>_view_<v>``.

    Args:
        root (str | Path): Folder of the buildings.
        normal_axes (str): Axes of the normals on disk; the default is what the authors
            state for the released data.
        prefix (str): Name of the split lists.
        overwrite (bool): Whether files that exist are written anew.
    """

    tasks = tuple(key for key in DOMAINS if key != 'img')

    def __init__(
        self,
        root: str | Path,
        normal_axes: str = 'x-right y-down z-back',
        prefix: str = 'tiny',
        overwrite: bool = False,
    ) -> None:
        super().__init__(root, overwrite)
        self.signs = axis_signs(normal_axes)
        self.prefix = prefix

    def default_id(self, split: str, index: int) -> str:
        return f'{split}{index // 50}/point_{index % 50}_view_0'

    def paths(self, split: str, name: str) -> dict[str, Path]:
        found = _NAME.fullmatch(name)
        if found is None:
            raise DataError(
                f'TaskonomyWriter: sample id {name!r} is not <building>/point_<p>_view_<v>; leave '
                '`sample_id` out to have ids made.'
            )
        building, view = found.groups()
        return {
            key: self.root / building / domain / f'{view}_domain_{SUFFIXES.get(domain, domain)}.png'
            for key, domain in DOMAINS.items()
        }

    def encoders(self, name: str, sample: Mapping[str, Any]) -> dict[str, Encoder]:
        gt = sample.get('gt', {})
        found: dict[str, Encoder] = {'img': lambda: png_bytes(sample['img'])}
        if 'semseg' in gt:
            ids = range(1, len(TASKONOMY_CLASSES) + 1)
            found['semseg'] = lambda: png_bytes(
                class_ids(gt['semseg'], ids, 0, 'Taskonomy').astype(np.uint8)
            )
        if 'depth' in gt:
            found['depth'] = lambda: png_bytes(encode_depth(gt['depth']))
        if 'normal' in gt:
            found['normal'] = lambda: png_bytes(encode_normals(gt['normal'], self.signs))
        for key in _WIDE:
            if key in gt:
                found[key] = partial(_png, gt[key], 65535, np.uint16)
        if 'reshading' in gt:
            found['reshading'] = partial(_png, gt['reshading'], 255, np.uint8)
        if 'principal_curvature' in gt:
            found['principal_curvature'] = lambda: encode_curvature(gt['principal_curvature'])
        return found

    def done(self, split: str, name: str, tasks: Iterable[str]) -> bool:
        building = name.partition('/')[0]
        # Archives are written once a building is complete, and moved into place whole.
        if self._packed(building) and not self.overwrite:
            return True
        return super().done(split, name, tasks)

    def _packed(self, building: str) -> bool:
        return (self.root / f'{building}.tar').is_file() and not (self.root / building).is_dir()

    def finish(self) -> None:
        buildings: dict[str, dict[str, None]] = {}
        views: dict[str, set[str]] = {}
        for split, names in self.names.items():
            for name in names:
                building, _, view = name.partition('/')
                views.setdefault(building, set()).add(view)
                buildings.setdefault(split, {})[building] = None
        for building, listed in views.items():
            path = self.root / 'index' / f'{building}.txt'
            if not (self._packed(building) and path.is_file()):
                write_view_index(path, self._domains(building, listed))
        write_splits(
            self.root / 'splits', self.prefix, {split: [*b] for split, b in buildings.items()}
        )

    def _domains(self, building: str, listed: set[str]) -> dict[str, list[str]]:
        """Views of a building to the domains that they have files of."""
        found: dict[str, list[str]] = {view: [] for view in listed}
        for folder in sorted(path for path in (self.root / building).iterdir() if path.is_dir()):
            for file in folder.iterdir():
                view, mark, _ = file.name.partition('_domain_')
                if mark and view in found:
                    found[view].append(folder.name)
        return found


def write_splits(folder: Path, prefix: str, buildings: Mapping[str, Sequence[str]]) -> None:
    """Write the list of buildings of each split, and all of them as the authors' table."""
    for split, names in buildings.items():
        atomic_write_text(folder / f'{prefix}_{split}.txt', ''.join(f'{name}\n' for name in names))
    splits = ('train', 'val', 'test')
    table = io.StringIO()
    rows = csv.writer(table, lineterminator='\n')
    rows.writerow(['id', *splits])
    for split, names in buildings.items():
        rows.writerows([name, *(int(split == column) for column in splits)] for name in names)
    atomic_write_text(folder / f'train_val_test_{prefix}.csv', table.getvalue())


def encode_depth(depth: Array) -> Array:
    """Metres, 0 unknown, to units of 1/512 m, 65535 unknown or too far (128 m)."""
    stored = np.rint(depth * 512.0)
    return np.where((depth <= 0) | (stored >= NO_GEOMETRY), NO_GEOMETRY, stored).astype(np.uint16)


def _png(value: Array, one: int, dtype: type) -> bytes:
    """Values in [0, 1], cut off there, as integers up to ``one``."""
    return png_bytes(np.rint(np.clip(value, 0, 1) * one).astype(dtype))


def encode_curvature(value: Array) -> bytes:
    """Curvatures ``(H, W, 2)`` in [-1, 1] to the first two channels of a picture, 127 flat."""
    stored = np.zeros((*value.shape[:2], 3), np.uint8)
    stored[..., :2] = np.clip(np.rint(127 + 128 * value), 0, 255)
    return png_bytes(stored)


def pack_building(root: Path, building: str, remove: bool = False) -> Path:
    """Pack the folder of a building into the archive ``<building>.tar`` beside it.

    Members are ``<domain>/<file>`` in sorted order with fixed owners and times, so equal
    folders give equal archives. PNG does not compress further, so the archive is plain: one
    large file that is read by offset in place of thousands of small ones.

    Args:
        root (Path): Folder of the buildings.
        building (str): Name of the folder.
        remove (bool): Whether to delete the folder once the archive is in place.

    Returns:
        Path: The archive.

    Raises:
        DataError: If the building has no files.
    """
    folder = root / building
    files = sorted(path for path in folder.rglob('*.png') if path.is_file())
    if not files:
        raise DataError(f"'{folder}' has no .png files to pack; name the folder of a building.")
    target = root / f'{building}.tar'
    temporary = root / f'.{target.name}.{os.getpid()}'
    try:
        with tarfile.open(temporary, 'w', format=tarfile.GNU_FORMAT) as archive:
            for path in files:
                entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
                entry.size = path.stat().st_size
                with path.open('rb') as content:
                    archive.addfile(entry, content)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if remove:
        shutil.rmtree(folder)
    return target
