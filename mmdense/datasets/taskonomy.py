"""Taskonomy: buildings seen from many points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmdense.registry import DATASETS
from mmdense.utils import DataError

from .base import Array, BaseDenseDataset
from .reading import decode_normals, folder_index, read_image, read_label, read_list, read_map

TASKONOMY_CLASSES = (
    'background', 'bottle', 'chair', 'couch', 'potted plant', 'bed', 'dining table', 'toilet',
    'tv', 'microwave', 'oven', 'toaster', 'sink', 'refrigerator', 'book', 'clock', 'vase',
)  # fmt: skip

_NO_GEOMETRY = 65535


@DATASETS.register_module()
class TaskonomyDataset(BaseDenseDataset):
    """Taskonomy: semantic labels, z-buffer depth and normals of 537 scanned buildings.

    Files are ``<building>/<domain>/point_<p>_view_<v>_domain_<domain>.png``; a split is a list
    of buildings. Encodings: depth 16 bit, 1/512 m along the optical axis, 65535 where the
    scan has no geometry (unknown, for normals too); normals 8 bit; ``segment_semantic`` 0
    uncertain (unknown), 1 background, 2..17 objects. A picture without the file of a domain
    lacks that task. Depth reaches 128 m: ``tasks['depth'].max_depth`` decides what counts.

    Args:
        tasks (Mapping): Any of ``semseg``, ``depth``, ``normal``.
        data_root (str): Folder of the buildings.
        ann_file (str): List of buildings, one per line; '' if ``buildings`` is given.
        buildings (Sequence[str] | None): The buildings themselves, in place of a list.
        layout (str): Folder of a domain under ``data_root``. The single-domain archives
            unpack to ``'{domain}/taskonomy/{building}'``.
        semseg_domain (str): Domain of the labels. Any but ``'segment_semantic'``, such as a
            folder of regenerated labels, holds class indices from 0 with 255 unknown.
        normal_axes (str): Axes of the normals on disk. The default is what the authors
            state for the released data: x right, y down, z towards the camera.
        mask_normals (bool): Whether normals are unknown where depth is 65535.
        **kwargs: As in :class:`BaseDenseDataset`.

    Raises:
        DataError: If a building has no pictures, or a task no file at all.
        ValueError: Unless exactly one of ``ann_file`` and ``buildings`` is given.
    """

    available_tasks = ('semseg', 'depth', 'normal')
    setup_hint = (
        'Taskonomy is downloaded per building and domain with the `omnitools` package of its '
        'authors (domains rgb, depth_zbuffer, normal, segment_semantic); docs/datasets.md has '
        'the layout.'
    )
    default_size = (512, 512)

    def __init__(
        self,
        tasks: Mapping[str, Any],
        data_root: str = 'data/taskonomy',
        ann_file: str = '',
        buildings: Sequence[str] | None = None,
        layout: str = '{building}/{domain}',
        semseg_domain: str = 'segment_semantic',
        normal_axes: str = 'x-right y-down z-back',
        mask_normals: bool = True,
        metainfo: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if bool(ann_file) == bool(buildings):
            raise ValueError(
                f"TaskonomyDataset: ann_file='{ann_file}' and buildings={buildings}; give one of "
                'them: a file with one building per line, or the list itself.'
            )
        self.buildings = list(buildings or ())
        self.layout = layout
        self.semseg_domain = semseg_domain
        self.stored_axes = normal_axes
        self.mask_normals = mask_normals
        self.domains = dict(semseg=semseg_domain, depth='depth_zbuffer', normal='normal')
        #: Domain to the name it has at the end of file names (segment_semantic differs).
        self.suffixes: dict[str, str] = {}
        named = {} if self._custom_labels else dict(classes=TASKONOMY_CLASSES)
        super().__init__(
            tasks,
            data_root=data_root,
            ann_file=ann_file,
            metainfo={**named, **(metainfo or {})},
            **kwargs,
        )

    @property
    def _custom_labels(self) -> bool:
        return self.semseg_domain != 'segment_semantic'

    def load_data_list(self) -> list[dict[str, Any]]:
        if self.ann_file:
            self.buildings = read_list(self.ann_file, self.backend_args)
        wanted = list(self.tasks)
        if 'normal' in self.tasks and self.mask_normals and 'depth' not in wanted:
            wanted.append('depth')
        counts: Counter[str] = Counter()
        entries: list[dict[str, Any]] = []
        for building in self.buildings:
            views = sorted(self._views(building, 'rgb'))
            if not views:
                raise DataError(
                    f"TaskonomyDataset: building '{building}' has no pictures in "
                    f"'{self._folder(building, 'rgb')}' (point_*_domain_rgb.png). {self.setup_hint}"
                )
            present = {key: self._views(building, self.domains[key]) for key in wanted}
            for view in views:
                # Millions of entries: names are put together again when they are read.
                keys = tuple(key for key in wanted if view in present[key])
                counts.update(keys)
                entries.append(dict(sample_id=f'{building}/{view}', domains=keys))
        self._report(counts, len(entries))
        return entries

    def _folder(self, building: str, domain: str) -> str:
        return f'{self.data_root}/{self.layout.format(building=building, domain=domain)}'

    def _views(self, building: str, domain: str) -> set[str]:
        """Views ``point_<p>_view_<v>`` of a building that have a file in ``domain``."""
        views = set()
        for stem in folder_index(self._folder(building, domain), ('.png',), self.backend_args):
            view, mark, suffix = stem.partition('_domain_')
            if mark:
                views.add(view)
                self.suffixes.setdefault(domain, suffix)
        return views

    def _report(self, counts: Counter[str], total: int) -> None:
        for key in self.tasks:
            domain = self.domains[key]
            if not counts[key]:
                raise DataError(
                    f"TaskonomyDataset: task '{key}' has no file of domain '{domain}' for any of "
                    f"{total} pictures under '{self.data_root}' (layout '{self.layout}'). Take "
                    f"'{key}' out of `tasks`, or get the domain. {self.setup_hint}"
                )
            if counts[key] < total:
                print_log(
                    f'TaskonomyDataset: {total - counts[key]} of {total} pictures lack task '
                    f"'{key}' (domain '{domain}').",
                    logger='current',
                )

    def read_sample(self, info: dict[str, Any]) -> dict[str, Any]:
        building, _, view = info['sample_id'].rpartition('/')

        def path(domain: str) -> str:
            folder = self._folder(building, domain)
            return f'{folder}/{view}_domain_{self.suffixes.get(domain, domain)}.png'

        gt: dict[str, Array] = {}
        stored_depth = None
        if 'depth' in info['domains']:
            stored_depth = self._read_depth(path('depth_zbuffer'))
            gt['depth'] = np.where(stored_depth == _NO_GEOMETRY, 0, stored_depth / np.float32(512))
        if 'normal' in info['domains']:
            gt['normal'] = self._read_normal(path('normal'), stored_depth)
        if 'semseg' in info['domains']:
            gt['semseg'] = self._read_semseg(path(self.semseg_domain))
        return dict(
            img=read_image(path('rgb'), self.backend_args),
            gt=gt,
            img_path=path('rgb'),
            sample_id=info['sample_id'],
        )

    def _read_depth(self, path: str) -> Array:
        stored = read_map(path, self.backend_args)
        if stored.dtype != np.uint16 or stored.ndim != 2:
            raise DataError(
                f'{path}: depth is {stored.dtype} {stored.shape}, expected 16-bit (H, W) in units '
                'of 1/512 m. Copies converted to 8 bit have lost the depth.'
            )
        return stored

    def _read_normal(self, path: str, stored_depth: Array | None) -> Array:
        stored = read_map(path, self.backend_args)
        if stored.dtype != np.uint8 or stored.ndim != 3:
            raise DataError(
                f'{path}: normals are {stored.dtype} {stored.shape}, expected 8-bit (H, W, 3).'
            )
        normals = decode_normals(stored, self.stored_axes)
        if self.mask_normals and stored_depth is not None:
            if stored_depth.shape != normals.shape[:2]:
                raise DataError(
                    f'{path}: normals are {normals.shape[:2]}, depth {stored_depth.shape} (H, W); '
                    'get both domains in one resolution, or set mask_normals=False.'
                )
            normals[stored_depth == _NO_GEOMETRY] = 0
        return normals

    def _read_semseg(self, path: str) -> Array:
        stored = read_label(path, self.backend_args)
        if self._custom_labels:
            return stored
        if stored.min() < 0 or stored.max() > len(TASKONOMY_CLASSES):
            raise DataError(
                f'{path}: labels run from {stored.min()} to {stored.max()}; segment_semantic '
                'holds 0 (uncertain) to 17. Name another folder as `semseg_domain` if the labels '
                'were regenerated.'
            )
        # 0 wraps to 255, unknown.
        return stored.astype(np.uint8) - np.uint8(1)
