"""PASCAL-Context with five tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import cv2
import numpy as np

from mmdense.registry import DATASETS
from mmdense.utils import DataError
from mmdense.utils.thinning import thin_levels

from .base import Array
from .file_lists import ListedDataset, MapFiles
from .matlab import read_mat
from .pascal_normals import NUM_CONTEXT_CATEGORIES, check_categories, find_normal_categories
from .pascal_parts import (
    PART_GRANULARITIES,
    PERSON,
    object_categories,
    paint_parts,
    part_labels,
    read_objects,
)
from .reading import (
    LIBRARY_AXES,
    check_axes,
    check_labels,
    read_binary,
    read_label,
    read_list,
    read_normals,
)

PASCAL_CLASSES = (
    'background', 'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair',
    'cow', 'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa',
    'train', 'tvmonitor',
)  # fmt: skip


def context_boundaries(label_map: Array) -> Array:
    """Training boundaries of a map of context categories (ASTMT): one pixel wide.

    The 3x3 Laplacian with centre -4 in float64, mirrored at the border without repeating the
    border pixel (OpenCV's default), is not zero; then thinned. Where two neighbours differ by
    opposite amounts the Laplacian cancels, so this is not the same as comparing labels.

    Args:
        label_map (Array): ``(H, W)`` integers.

    Returns:
        Array: uint8 ``(H, W)`` of 0 and 1.
    """
    # thin_levels gives what skimage.morphology.thin gives in a fifth of the time; thinning was
    # the dearest step of this data set.
    edges = cv2.Laplacian(label_map.astype(np.float64), cv2.CV_64F, ksize=1) != 0
    thinned = np.zeros(edges.shape, np.uint8)
    remaining, _ = thin_levels(edges.astype(np.uint8), 1)
    thinned.flat[remaining] = 1
    return thinned


@DATASETS.register_module()
class PASCALContextDataset(ListedDataset):
    """PASCAL-Context with the labels of ASTMT: 4,998 / 5,105 pictures, five tasks.

    Reads, below ``data_root``::

        JPEGImages/<id>.jpg                       ImageSets/Context/{train,val}.txt
        semseg/VOC12/<id>.png                     else semseg/pascal-context/<id>.png
        pascal-context/trainval/<id>.mat          LabelMap, 459 categories
        human_parts/<id>.mat                      objects of PASCAL-Part
        normals_distill/<id>.png                  sal_distill/<id>.png

    Encodings:

    - ``semseg``: 0 background, 1..20 the classes, 255 void;
    - ``boundary``: from LabelMap, see :func:`context_boundaries`. In test mode the sample
      carries LabelMap itself as ``aux['context']``, which the boundary benchmark reads;
    - ``part``: parts of the persons that have parts annotated, in file order, later over
      earlier. A picture, or a crop of training, without any part pixel is unknown throughout
      (:meth:`mmdense.tasks.Part.after_geometry`). With ``part`` as the only task, pictures
      without a person are left off the list; ``ImageSets/Parts/<split>.txt`` remembers which
      (made on first use);
    - ``normal``: 8 bit, ``2 v / 255 - 1``, distilled from a network trained on NYUD-v2 and so
      known only where the context category is one of NYU's: ``normal_ids``;
    - ``saliency``: 8 bit, 1 above half.

    Args:
        tasks (Mapping): Any of ``semseg``, ``part``, ``saliency``, ``normal``, ``boundary``.
        data_root (str): Folder with the layout above.
        ann_file (str): List of ids, one per line.
        part_granularity (int): 6, or 1, 4, 14; see
            :func:`~mmdense.datasets.pascal_parts.part_labels`.
        normal_valid (str): ``'context'``: normals are known at the categories of
            ``normal_ids``; ``'all'``: everywhere.
        normal_ids (str | Sequence[int] | None): The context categories with normals, or a
            file of them, one number per line (what follows the number is ignored). None: those
            of ``normal_ids.txt`` below ``data_root``, or the 170 published ones, see
            :func:`~mmdense.datasets.pascal_normals.find_normal_categories`.
        normal_axes (str): Axes of the normals on disk.
        normals_min_norm (float): Stored normals of at most this length are unknown.
        unit_normals (bool): Whether normals are scaled to unit length.
        **kwargs: As in :class:`BaseDenseDataset`.

    Raises:
        DataError: If pictures or the list of categories are missing, or no file of a task is
            there.
        ValueError: If an option is unknown.
    """

    METAINFO = dict(classes=PASCAL_CLASSES)
    available_tasks = ('semseg', 'part', 'saliency', 'normal', 'boundary')
    setup_hint = (
        'PASCAL-Context with the labels of ASTMT (PASCAL_MT.tgz, or PASCALContext.tar.gz of ATRC) '
        'unpacks to the folder that `data_root` names; docs/datasets.md has the layout and its '
        'converters.'
    )
    default_size = (375, 500)
    pictures = MapFiles(('JPEGImages',), ('.jpg', '.jpeg', '.png'))

    def __init__(
        self,
        tasks: Mapping[str, Any],
        data_root: str = 'data/pascal_context',
        ann_file: str = 'ImageSets/Context/train.txt',
        part_granularity: int = 6,
        normal_valid: str = 'context',
        normal_ids: str | Sequence[int] | None = None,
        normal_axes: str = LIBRARY_AXES,
        normals_min_norm: float = 0.0,
        unit_normals: bool = True,
        metainfo: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if normal_valid not in ('context', 'all'):
            raise ValueError(
                f"PASCALContextDataset: `normal_valid` is {normal_valid!r}; choose 'context' or "
                "'all'."
            )
        self.part_labels = part_labels(part_granularity)
        self.normal_valid = normal_valid
        self.normal_ids = normal_ids
        self.stored_axes = check_axes(normal_axes)
        self.normals_min_norm = normals_min_norm
        self.unit_normals = unit_normals
        self._context: tuple[str, Array] | None = None
        #: Whether normals are known, by context category.
        self._has_normals = np.ones(NUM_CONTEXT_CATEGORIES + 1, bool)
        parts = dict(task_classes=dict(part=PART_GRANULARITIES[part_granularity]))
        super().__init__(
            tasks,
            data_root=data_root,
            ann_file=ann_file,
            metainfo={**parts, **(metainfo or {})},
            **kwargs,
        )

    def map_files(self) -> dict[str, MapFiles]:
        return dict(
            semseg=MapFiles(('semseg/VOC12', 'semseg/pascal-context'), ('.png',)),
            context=MapFiles(('pascal-context/trainval',), ('.mat',)),
            part=MapFiles(('human_parts',), ('.mat',)),
            normal=MapFiles(('normals_distill',), ('.png',)),
            saliency=MapFiles(('sal_distill',), ('.png',)),
        )

    def required(self, key: str) -> tuple[str, ...]:
        if key == 'boundary':
            return ('context',)
        if key == 'normal' and self.normal_valid == 'context':
            return ('normal', 'context')
        return (key,)

    # -- the list -------------------------------------------------------------

    def load_data_list(self) -> list[dict[str, Any]]:
        if 'normal' in self.tasks and self.normal_valid == 'context':
            self._has_normals = self._categories_with_normals()
        return super().load_data_list()

    def stems(self) -> Sequence[str]:
        stems = read_list(self.ann_file, self.backend_args)
        if set(self.tasks) != {'part'}:
            return stems
        files = self.index(self.map_files()['part'])
        cache = f'{self.data_root}/ImageSets/Parts/{PurePosixPath(self.ann_file).stem}.txt'
        categories = object_categories(
            cache,
            {stem: files.get(stem) for stem in stems},
            self.backend_args,
            skip_damaged=self.on_error == 'skip',
        )
        return [stem for stem in stems if PERSON in categories[stem]]

    def _categories_with_normals(self) -> Array:
        """Table ``(460,)`` bool of :attr:`normal_ids`."""
        ids = self.normal_ids
        if ids is None or isinstance(ids, str):
            ids = find_normal_categories(self.data_root, ids or '', self.backend_args)
        return np.isin(np.arange(NUM_CONTEXT_CATEGORIES + 1), check_categories(ids))

    # -- one picture ----------------------------------------------------------

    def read_sample(self, info: dict[str, Any]) -> dict[str, Any]:
        self._context = None
        sample = super().read_sample(info)
        if self.test_mode and 'boundary' in sample['gt']:
            sample['aux'] = dict(context=self._read_context(info['files']['context']))
        return sample

    def read_gt(self, key: str, files: Mapping[str, str], size: tuple[int, int]) -> Array:
        if key == 'semseg':
            return read_label(files[key], self.backend_args)
        if key == 'part':
            objects = read_objects(files[key], self.backend_args)
            painted = paint_parts(objects, self.part_labels, size, files[key])
            return self.tasks[key].after_geometry(painted)
        if key == 'normal':
            return self._read_normal(files)
        if key == 'boundary':
            return context_boundaries(self._read_context(files['context']))
        return read_binary(files[key], self.backend_args, one=255)

    def _read_context(self, path: str) -> Array:
        """LabelMap, int16 ``(H, W)``; read once per picture for all that need it."""
        if self._context is None or self._context[0] != path:
            stored = np.asarray(read_mat(path, 'LabelMap', self.backend_args))
            # Structs, cells and texts are objects or characters; numpy cannot truncate them.
            numbers = stored.dtype.kind in 'biuf' and stored.ndim == 2 and stored.size > 0
            if not numbers or not (stored == np.trunc(stored)).all():
                raise DataError(
                    f'{path}: LabelMap is {stored.dtype} {stored.shape}, expected whole numbers '
                    '(H, W).'
                )
            check_labels(
                stored, 0, NUM_CONTEXT_CATEGORIES, path,
                f'LabelMap holds 1 to {NUM_CONTEXT_CATEGORIES}, and 0 for unlabelled.',
            )  # fmt: skip
            self._context = (path, stored.astype(np.int16))
        return self._context[1]

    def _read_normal(self, files: Mapping[str, str]) -> Array:
        normals = read_normals(
            files['normal'],
            self.stored_axes,
            self.normals_min_norm,
            self.unit_normals,
            self.backend_args,
        )
        if self.normal_valid == 'context':
            context = self._read_context(files['context'])
            if context.shape != normals.shape[:2]:
                raise DataError(
                    f'{files["normal"]}: normals are {normals.shape[:2]}, LabelMap of '
                    f"'{files['context']}' is {context.shape} (H, W)."
                )
            normals[~self._has_normals[context]] = 0
        return normals
