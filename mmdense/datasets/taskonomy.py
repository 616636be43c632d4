"""Taskonomy: buildings seen from many points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine import fileio
from mmengine.logging import print_log

from mmdense.registry import DATASETS
from mmdense.utils import DataError

from .base import Array, BaseDenseDataset
from .reading import (
    check_axes,
    check_labels,
    decode_normals,
    folder_index,
    read_image,
    read_label,
    read_list,
    read_map,
    read_stored_normals,
)
from .taskonomy_maps import WIDE, axis_depth, read_angle, read_regression, square_intrinsics
from .taskonomy_views import ViewList, read_split_table, read_view_index

TASKONOMY_CLASSES = (
    'background', 'bottle', 'chair', 'couch', 'potted plant', 'bed', 'dining table', 'toilet',
    'tv', 'microwave', 'oven', 'toaster', 'sink', 'refrigerator', 'book', 'clock', 'vase',
)  # fmt: skip

_NO_GEOMETRY = 65535
#: Targets besides normals that a scan without geometry cannot give.
_GEOMETRIC = ('edge_occlusion', 'keypoints3d', 'principal_curvature', 'reshading')


def _check_options(
    ann_file: str,
    buildings: Sequence[str] | None,
    split_file: str,
    depth_domain: str,
    field_of_view: float | str | None,
) -> None:
    if [bool(ann_file), bool(buildings), bool(split_file)].count(True) != 1:
        raise ValueError(
            f"TaskonomyDataset: ann_file='{ann_file}', buildings={buildings} and split_file="
            f"'{split_file}'; give one of them: a file with one building per line, the list "
            "itself, or the authors' table."
        )
    if depth_domain not in ('depth_zbuffer', 'depth_euclidean'):
        raise ValueError(
            f"TaskonomyDataset: `depth_domain` is {depth_domain!r}; choose 'depth_zbuffer' or "
            "'depth_euclidean'."
        )
    if depth_domain == 'depth_euclidean' and field_of_view is None:
        raise ValueError(
            "TaskonomyDataset: depth_domain='depth_euclidean' is along the ray, and depth here "
            'is along the optical axis. Set `field_of_view` (radians, or the domain '
            "'point_info'), or use depth_zbuffer."
        )


@DATASETS.register_module()
class TaskonomyDataset(BaseDenseDataset):
    """Taskonomy: 4.6 million views of 537 scanned buildings, ten tasks.

    Files are ``<building>/<domain>/point_<p>_view_<v>_domain_<domain>.png``; a split is a list
    of buildings. A view without the file of a domain lacks that task. Encodings, where G means
    "unknown where depth is 65535, the scan has no geometry":

    - ``semseg`` (``segment_semantic``): 0 uncertain (unknown), 1 background, 2..17 objects;
    - ``depth`` (``depth_zbuffer``): 16 bit, 1/512 m along the optical axis, G.
      ``depth_euclidean`` is along the ray and is turned into the former, which takes
      ``field_of_view``. Depth reaches 128 m: ``tasks['depth'].max_depth`` decides what counts;
    - ``normal``: 8 bit, ``2 v / 255 - 1``, scaled to unit length, G with ``mask_normals``;
    - ``edge_texture``, ``edge_occlusion``, ``keypoints2d``, ``keypoints3d``: 16 bit over
      65,535, in [0, 1]; ``edge_texture`` is cut off at ``edge_texture_max``;
    - ``reshading``: 8-bit grey over 255;
    - ``principal_curvature``: the first two 8-bit channels, ``(v - 127) / 128``.

    **Many files.** Listing the folders of all buildings takes long on a network disk. Where
    ``index_folder/<building>.txt`` exists (:func:`.taskonomy_views.write_view_index`) it is
    read instead. ``layout='{building}.tar/{domain}'`` with
    ``backend_args=dict(backend='tar_shards')`` reads one archive per building. The list of
    views is kept in compact arrays, so ``serialize_data`` has no effect.

    Args:
        tasks (Mapping): Any of the tasks above.
        data_root (str): Folder of the buildings.
        ann_file (str): List of buildings, one per line.
        buildings (Sequence[str] | None): The buildings themselves, in place of a list.
        split_file (str): The authors' table (``train_val_test_tiny.csv`` and the like), in
            place of a list; relative to ``data_root``.
        split (str): Column of ``split_file``: ``'train'``, ``'val'`` or ``'test'``.
        layout (str): Folder of a domain under ``data_root``. The single-domain archives
            unpack to ``'{domain}/taskonomy/{building}'``.
        index_folder (str): Folder of the indexes under ``data_root``.
        semseg_domain (str): Domain of the labels. Any but ``'segment_semantic'``, such as a
            folder of regenerated labels, holds class indices from 0 with 255 unknown.
        depth_domain (str): ``'depth_zbuffer'`` or ``'depth_euclidean'``.
        field_of_view (float | str | None): Angle of view of the square pictures in radians,
            or the domain of the camera files (``'point_info'``) that state it per view. With
            it samples carry ``intrinsics``.
        max_depth (float | None): Depths above this become this, in metres; 8000/512 = 15.625
            is common. None: as stored. ``tasks['depth'].max_depth`` must be larger, because
            it counts only pixels below it.
        edge_texture_max (float): Texture edges above this become this.
        normal_axes (str): Axes of the normals on disk. The default is what the authors
            state for the released data: x right, y down, z towards the camera.
        mask_normals (bool): Whether normals are unknown where depth is 65535.
        mask_geometric (bool): Whether so are occlusion edges, 3D keypoints, curvature and
            reshading, which published code leaves as they are.
        **kwargs: As in :class:`BaseDenseDataset`.

    Raises:
        DataError: If a building has no pictures, or a task no file at all.
        ValueError: Unless exactly one of ``ann_file``, ``buildings`` and ``split_file`` is
            given, or if ray depth is asked for without ``field_of_view``.
    """

    available_tasks = ('semseg', 'depth', 'normal', *WIDE, 'reshading', 'principal_curvature')
    setup_hint = (
        'Taskonomy is downloaded per building and domain with the `omnitools` package of its '
        'authors (domains rgb, depth_zbuffer, normal, segment_semantic, ...); docs/datasets.md '
        'has the layout and its converters.'
    )
    default_size = (512, 512)

    def __init__(
        self,
        tasks: Mapping[str, Any],
        data_root: str = 'data/taskonomy',
        ann_file: str = '',
        buildings: Sequence[str] | None = None,
        split_file: str = '',
        split: str = 'train',
        layout: str = '{building}/{domain}',
        index_folder: str = 'index',
        semseg_domain: str = 'segment_semantic',
        depth_domain: str = 'depth_zbuffer',
        field_of_view: float | str | None = None,
        max_depth: float | None = None,
        edge_texture_max: float = 0.25,
        normal_axes: str = 'x-right y-down z-back',
        mask_normals: bool = True,
        mask_geometric: bool = False,
        metainfo: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        _check_options(ann_file, buildings, split_file, depth_domain, field_of_view)
        self.buildings = list(buildings or ())
        self.split_file, self.split = split_file, split
        self.layout, self.index_folder = layout, index_folder
        self.semseg_domain = semseg_domain
        self.field_of_view = field_of_view
        self.max_depth = max_depth
        self.edge_texture_max = edge_texture_max
        self.stored_axes = check_axes(normal_axes)
        self.mask_normals, self.mask_geometric = mask_normals, mask_geometric
        #: Name of a map, which is the task key for the main one, to its domain.
        self.domains = {key: key for key in self.available_tasks}
        self.domains.update(semseg=semseg_domain, depth=depth_domain)
        if isinstance(field_of_view, str):
            self.domains['camera'] = field_of_view
        #: Domain to what names have after ``_domain_`` (segment_semantic differs).
        self.endings: dict[str, str] = {}
        named = {} if self._custom_labels else dict(classes=TASKONOMY_CLASSES)
        kwargs['serialize_data'] = False
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

    # -- the list -------------------------------------------------------------

    def load_data_list(self) -> Sequence[dict[str, Any]]:
        if self.ann_file:
            self.buildings = read_list(self.ann_file, self.backend_args)
        if self.split_file:
            path = f'{self.data_root}/{self.split_file}'
            self.buildings = read_split_table(path, self.split, self.backend_args)
        parts: dict[str, tuple[Sequence[str], Array]] = {}
        missing, unindexed = [], 0
        for building in dict.fromkeys(self.buildings):
            views, indexed = self._building(building)
            unindexed += not indexed
            if len(views[0]):
                parts[building] = views
            else:
                missing.append(building)
        self._check_buildings(missing, unindexed)
        entries = ViewList.join(self._maps, parts)
        self._report(entries)
        return entries

    @property
    def _maps(self) -> tuple[str, ...]:
        """Names of the maps that are read: the tasks, and what they are masked by."""
        depth = ('depth',) if self._masked else ()
        camera = ('camera',) if isinstance(self.field_of_view, str) else ()
        return tuple(dict.fromkeys((*self.tasks, *depth, *camera)))

    @property
    def _masked(self) -> tuple[str, ...]:
        """The tasks that are unknown where the scan has no geometry, besides depth."""
        normal = ('normal',) if self.mask_normals else ()
        geometric = _GEOMETRIC if self.mask_geometric else ()
        return tuple(key for key in (*normal, *geometric) if key in self.tasks)

    def _building(self, building: str) -> tuple[tuple[Sequence[str], Array], bool]:
        """Views of a building and their maps as bits; whether they come from an index."""
        path = f'{self.data_root}/{self.index_folder}/{building}.txt'
        index = None
        if fileio.exists(path, backend_args=self.backend_args):
            index = read_view_index(path, self.backend_args)
        # An index of bare names says nothing about the domains.
        complete = index is not None and None not in index.values()
        views = sorted(self._listed(building, 'rgb') if index is None else index)
        present = np.zeros(len(views), np.uint32)
        for bit, name in enumerate(self._maps):
            domain = self.domains[name]
            if index is not None and complete:
                has = [domain in (index[view] or ()) for view in views]
            else:
                found = self._listed(building, domain)
                has = [view in found for view in views]
            present |= np.asarray(has, np.uint32) << np.uint32(bit)
        return (views, present), complete

    def _folder(self, building: str, domain: str) -> str:
        return f'{self.data_root}/{self.layout.format(building=building, domain=domain)}'

    def _listed(self, building: str, domain: str) -> set[str]:
        """Views ``point_<p>_view_<v>`` of a building that have a file in ``domain``."""
        views = set()
        folder = self._folder(building, domain)
        for name in folder_index(folder, ('',), self.backend_args):
            view, mark, ending = name.partition('_domain_')
            if mark and ending.endswith(('.png', '.json')):
                views.add(view)
                self.endings.setdefault(domain, ending)
        return views

    def _path(self, building: str, view: str, domain: str) -> str:
        """File of a view; the end of names is learnt from the first file of a domain."""
        folder = self._folder(building, domain)
        if domain not in self.endings:
            plain = domain.replace('_', '')
            for ending in (f'{domain}.png', f'{plain}.png', 'fixatedpose.json', f'{domain}.json'):
                if fileio.exists(
                    f'{folder}/{view}_domain_{ending}', backend_args=self.backend_args
                ):
                    self.endings[domain] = ending
                    break
        return f'{folder}/{view}_domain_{self.endings.get(domain, f"{domain}.png")}'

    def _check_buildings(self, missing: Sequence[str], unindexed: int) -> None:
        if unindexed > 100:
            print_log(
                f'TaskonomyDataset: the folders of {unindexed} buildings were listed. Indexes '
                f"'{self.data_root}/{self.index_folder}/<building>.txt' spare that.",
                logger='current',
            )
        if not missing:
            return
        text = (
            f"TaskonomyDataset: {len(missing)} of {len(self.buildings)} buildings, '{missing[0]}' "
            f"for one, have no pictures in '{self._folder(missing[0], 'rgb')}' "
            '(point_*_domain_rgb.png).'
        )
        if self.on_error == 'raise' or len(missing) == len(self.buildings):
            raise DataError(f'{text} {self.setup_hint}')
        print_log(f"{text} on_error='skip' goes on without them.", logger='current', level=30)

    def _report(self, entries: ViewList) -> None:
        total = len(entries)
        for key in self._maps:
            domain, count = self.domains[key], entries.count(key)
            if not count and key in self.tasks:
                raise DataError(
                    f"TaskonomyDataset: task '{key}' has no file of domain '{domain}' for any of "
                    f"{total} pictures under '{self.data_root}' (layout '{self.layout}'). Take "
                    f"'{key}' out of `tasks`, or get the domain. {self.setup_hint}"
                )
            if count < total:
                print_log(
                    f"TaskonomyDataset: {total - count} of {total} pictures lack '{key}' (domain "
                    f"'{domain}').",
                    logger='current',
                )

    # -- one picture ----------------------------------------------------------

    def read_sample(self, info: dict[str, Any]) -> dict[str, Any]:
        building, _, view = info['sample_id'].rpartition('/')
        paths = {name: self._path(building, view, self.domains[name]) for name in info['domains']}
        picture = self._path(building, view, 'rgb')
        sample: dict[str, Any] = dict(
            img=read_image(picture, self.backend_args),
            gt={},
            gt_paths=paths,
            img_path=picture,
            sample_id=info['sample_id'],
        )
        angle = self._angle_of_view(paths)
        if angle is not None:
            sample['intrinsics'] = square_intrinsics(angle, sample['img'].shape[:2])
        stored = self._read_depth(paths['depth']) if 'depth' in paths else None
        for key in self.tasks:
            if key == 'depth' and stored is not None:
                sample['gt'][key] = self._metres(stored, angle, paths[key])
            elif key in paths and key != 'depth':
                gt = self._read_map(key, paths[key])
                if stored is not None and key in self._masked:
                    self._mask(gt, stored, key, paths[key])
                sample['gt'][key] = gt
        return sample

    def _read_map(self, key: str, path: str) -> Array:
        if key == 'semseg':
            return self._read_semseg(path)
        if key == 'normal':
            stored = read_stored_normals(path, self.backend_args)
            if stored.dtype != np.uint8:
                raise DataError(f'{path}: normals are {stored.dtype}, expected 8-bit (H, W, 3).')
            return decode_normals(stored, self.stored_axes)
        value = read_regression(key, path, self.backend_args)
        return np.minimum(value, self.edge_texture_max) if key == 'edge_texture' else value

    def _read_depth(self, path: str) -> Array:
        stored = read_map(path, self.backend_args)
        if stored.dtype != np.uint16 or stored.ndim != 2:
            raise DataError(
                f'{path}: depth is {stored.dtype} {stored.shape}, expected 16-bit (H, W) in units '
                'of 1/512 m. Copies converted to 8 bit have lost the depth.'
            )
        return stored

    def _metres(self, stored: Array, angle: float | None, path: str) -> Array:
        depth = stored.astype(np.float32) / np.float32(512)
        if self.domains['depth'] == 'depth_euclidean':
            if angle is None:
                raise DataError(
                    f'{path}: is depth along the ray, and this view has no camera file in domain '
                    f"'{self.field_of_view}' to turn it into depth along the axis."
                )
            depth = axis_depth(depth, square_intrinsics(angle, depth.shape))
        if self.max_depth is not None:
            depth = np.minimum(depth, np.float32(self.max_depth))
        depth[stored == _NO_GEOMETRY] = 0
        return depth

    def _mask(self, gt: Array, stored: Array, key: str, path: str) -> None:
        """Mark where the scan has no geometry."""
        if stored.shape != gt.shape[:2]:
            raise DataError(
                f"{path}: '{key}' is {gt.shape[:2]}, depth {stored.shape} (H, W); get both domains "
                'in one resolution, or set mask_normals=False and mask_geometric=False.'
            )
        gt[stored == _NO_GEOMETRY] = self.tasks[key].ignore_value

    def _angle_of_view(self, paths: Mapping[str, str]) -> float | None:
        """Radians; None where it is not known."""
        if not isinstance(self.field_of_view, str):
            return self.field_of_view
        return read_angle(paths['camera'], self.backend_args) if 'camera' in paths else None

    def _read_semseg(self, path: str) -> Array:
        stored = read_label(path, self.backend_args)
        if self._custom_labels:
            return stored
        check_labels(
            stored, 0, len(TASKONOMY_CLASSES), path,
            'segment_semantic holds 0 (uncertain) to 17. Name another folder as `semseg_domain` '
            'if the labels were regenerated.',
        )  # fmt: skip
        # 0 wraps to 255, unknown.
        return stored.astype(np.uint8) - np.uint8(1)
