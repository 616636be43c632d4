"""Writer of the Taskonomy layout, in folders or in one archive per building."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmdense.utils import DataError
from mmdense.utils.files import atomic_write_text

from ..reading import axis_signs
from ..taskonomy import TASKONOMY_CLASSES
from .base import Array, Encoder, LayoutWriter, class_ids
from .encode import encode_normals, png_bytes

#: Task key to its domain.
DOMAINS = dict(img='rgb', depth='depth_zbuffer', normal='normal', semseg='segment_semantic')
#: What stands at the end of file names where it is not the name of the domain.
SUFFIXES = {'segment_semantic': 'segmentsemantic'}
#: Further domains that are written when a sample has them, to their bits per channel.
EXTRA_DOMAINS = dict(
    edge_texture=16, edge_occlusion=16, keypoints2d=16, keypoints3d=16, reshading=8,
    principal_curvature=8,
)  # fmt: skip
#: Stored depth where the scan has no geometry.
NO_GEOMETRY = 65535
_NAME = re.compile(r'([^/]+)/(point_\d+_view_\d+)')


class TaskonomyWriter(LayoutWriter):
    """The Taskonomy layout.

    ::

        <building>/<domain>/point_<p>_view_<v>_domain_<domain>.png
        splits/<prefix>_{train,val,test}.txt     one building per line
        splits/train_val_test_<prefix>.csv       id,train,val,test with a 1 in one column
        index/<building>.txt                     one view per line

    Reads ``semseg`` (17 classes), ``depth`` (metres, stored as 1/512 m, 65535 unknown),
    ``normal``, and ``sample['domains']``: further domains to arrays, regression targets in
    [0, 1] (16 bit) or uint8 maps (``reshading``, ``principal_curvature``). Sample ids are
    ``<building>/point_<p>_view_<v>``.

    Args:
        root (str | Path): Folder of the buildings.
        normal_axes (str): Axes of the normals on disk; the default is what the authors
            state for the released data.
        prefix (str): Name of the split lists.
        overwrite (bool): Whether files that exist are written anew.
    """

    tasks = ('semseg', 'depth', 'normal')

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
            for key, domain in [*DOMAINS.items(), *zip(EXTRA_DOMAINS, EXTRA_DOMAINS)]
        }

    def encoders(self, name: str, sample: Mapping[str, Any]) -> dict[str, Encoder]:
        gt = sample['gt']
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
        for domain, value in sample.get('domains', {}).items():
            if domain not in EXTRA_DOMAINS:
                raise DataError(
                    f'TaskonomyWriter: domain {domain!r} is unknown. Known: '
                    f'{", ".join(EXTRA_DOMAINS)}.'
                )
            wide = EXTRA_DOMAINS[domain] == 16
            found[domain] = lambda value=value, wide=wide: png_bytes(  # type: ignore[misc]
                encode_unit(value) if wide else value.astype(np.uint8)
            )
        return found

    def finish(self) -> None:
        buildings: dict[str, list[str]] = {}
        views: dict[str, list[str]] = {}
        for split, names in self.names.items():
            for name in names:
                building, _, view = name.partition('/')
                views.setdefault(building, []).append(view)
                if building not in buildings.setdefault(split, []):
                    buildings[split].append(building)
        for building, found in views.items():
            self.write_list(f'index/{building}.txt', found)
        write_splits(self.root / 'splits', self.prefix, buildings)


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


def encode_unit(value: Array) -> Array:
    """Values in [0, 1] to 16 bit; larger ones are cut off."""
    return np.rint(np.clip(value, 0, 1) * 65535).astype(np.uint16)


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
