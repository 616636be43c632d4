"""Downloaded Taskonomy as a source: lists and indexes of it, or a smaller copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmdense.utils import DataError

from ..reading import read_image, read_map
from ..taskonomy_views import read_split_table
from ..writers.encode import png_bytes
from ..writers.taskonomy import DOMAINS, NO_GEOMETRY, SUFFIXES

Array = np.ndarray

SPLITS = ('train', 'val', 'test')


class TaskonomySource:
    """Downloaded buildings.

    Args:
        root (str | Path): Folder of the data.
        table (str | Path): The authors' table of a split, such as
            ``train_val_test_tiny.csv``: ``id,train,val,test`` with a 1 in one column.
        layout (str): Folder of a domain below ``root``.
        domains (Sequence[str] | None): Domains to take besides rgb; None: those that the first
            building has.
        size (tuple[int, int] | None): (H, W) of the copies; None copies files as they are.
        splits (Sequence[str]): Columns of the table.
        skip_missing (bool): Whether buildings of the table without pictures are left out.

    Raises:
        DataError: If a building has no pictures, or a domain is unknown.
    """

    def __init__(
        self,
        root: str | Path,
        table: str | Path,
        layout: str = '{building}/{domain}',
        domains: Sequence[str] | None = None,
        size: tuple[int, int] | None = None,
        splits: Sequence[str] = SPLITS,
        skip_missing: bool = False,
    ) -> None:
        self.root = Path(root)
        self.layout = layout
        self.size = size
        self.views: dict[str, list[str]] = {}
        self.missing: list[str] = []
        for split in splits:
            for building in read_split_table(str(table), split):
                views = self._views(building)
                if views:
                    self.views.setdefault(split, []).extend(f'{building}/{v}' for v in views)
                else:
                    self.missing.append(building)
        if self.missing and (not skip_missing or not self.views):
            raise DataError(
                f"Taskonomy: {len(self.missing)} buildings of '{table}' have no pictures, for "
                f"example '{self._folder(self.missing[0], 'rgb')}' (point_*_domain_rgb.png). "
                'Correct --source and --source-layout, download them, or add --skip-missing.'
            )
        self.keys = self._keys(domains)

    @property
    def tasks(self) -> Sequence[str]:
        return self.keys

    def _folder(self, building: str, domain: str) -> Path:
        return self.root / self.layout.format(building=building, domain=domain)

    def _views(self, building: str) -> list[str]:
        ending = '_domain_rgb.png'
        found = self._folder(building, 'rgb').glob(f'point_*{ending}')
        return sorted(path.name.removesuffix(ending) for path in found)

    def _keys(self, domains: Sequence[str] | None) -> tuple[str, ...]:
        """Task keys of the domains."""
        building = next(iter(self.views.values()))[0].partition('/')[0]
        keys = {domain: key for key, domain in DOMAINS.items() if key != 'img'}
        if domains is None:
            domains = [one for one in keys if self._folder(building, one).is_dir()]
        unknown = [one for one in domains if one not in (*keys, 'rgb')]
        if unknown:
            raise DataError(
                f"Taskonomy: domain '{unknown[0]}' cannot be copied. Known: rgb, {', '.join(keys)}."
            )
        return tuple(keys[one] for one in domains if one != 'rgb')

    @property
    def settings(self) -> dict[str, Any]:
        return dict(size=None if self.size is None else list(self.size))

    def ids(self) -> Mapping[str, Sequence[str]]:
        return self.views

    def path(self, name: str, domain: str) -> Path:
        """File of a view, under either of the names that the archives have."""
        building, _, view = name.partition('/')
        folder = self._folder(building, domain)
        for suffix in (SUFFIXES.get(domain, domain), domain):
            path = folder / f'{view}_domain_{suffix}.png'
            if path.is_file():
                return path
        return path

    def read(self, split: str, index: int) -> dict[str, Any]:
        name = self.views[split][index]
        paths = {key: self.path(name, DOMAINS[key]) for key in ('img', *self.keys)}
        # A view may lack a domain.
        paths = {key: path for key, path in paths.items() if key == 'img' or path.is_file()}
        files: dict[str, Path | Callable[[], bytes]] = dict(paths)
        if self.size is not None:
            files = {key: self._shrunk(key, paths) for key in paths}
        return dict(sample_id=name, files=files)

    def _shrunk(self, key: str, paths: Mapping[str, Path]) -> Callable[[], bytes]:
        def make() -> bytes:
            if self.size is None or key == 'img':
                return png_bytes(resize_stored('img', read_image(str(paths['img'])), self.size))
            depth = read_map(str(paths['depth'])) if 'depth' in paths and key == 'normal' else None
            return png_bytes(resize_stored(key, read_map(str(paths[key])), self.size, depth))

        return make


def resize_stored(
    key: str, stored: Array, size: tuple[int, int] | None, depth: Array | None = None
) -> Array:
    """A stored map in another size, resampled as its meaning asks.

    Pictures, keypoints, edges and shading are averaged over areas. Depth, labels and curvature
    take the nearest pixel, so that 65535 stays what it is and labels mix with nothing.
    Normals are averaged over known pixels and scaled to unit length.

    Args:
        key (str): ``'img'`` or the task.
        stored (Array): As on disk.
        size (tuple[int, int] | None): (H, W).
        depth (Array | None): Stored depth, for normals: 65535 there means no normal.

    Returns:
        Array: As on disk.
    """
    if size is None or stored.shape[:2] == size:
        return stored
    to = size[::-1]
    if key in ('depth', 'semseg', 'principal_curvature'):
        return cv2.resize(stored, to, interpolation=cv2.INTER_NEAREST_EXACT)
    if key != 'normal':
        return cv2.resize(stored, to, interpolation=cv2.INTER_AREA)
    normals = stored.astype(np.float32) * np.float32(2 / 255) - 1
    if depth is not None and depth.shape == stored.shape[:2]:
        normals[depth == NO_GEOMETRY] = 0
    mean = cv2.resize(normals, to, interpolation=cv2.INTER_AREA)
    length = np.linalg.norm(mean, axis=-1, keepdims=True)
    unit = np.where(length > 1e-3, mean / np.maximum(length, 1e-3), 0)
    return np.rint((unit + 1) * 127.5).astype(np.uint8)
