"""NYUD-v2 with four tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmdense.registry import DATASETS

from .base import Array
from .file_lists import ListedDataset, MapFiles
from .reading import check_axes, check_labels, read_binary, read_label, read_metres, read_normals

NYUD_CLASSES = (
    'wall', 'floor', 'cabinet', 'bed', 'chair', 'sofa', 'table', 'door', 'window', 'bookshelf',
    'picture', 'counter', 'blinds', 'desk', 'shelves', 'curtain', 'dresser', 'pillow', 'mirror',
    'floor mat', 'clothes', 'ceiling', 'books', 'refrigerator', 'television', 'paper', 'towel',
    'shower curtain', 'box', 'whiteboard', 'person', 'night stand', 'toilet', 'sink', 'lamp',
    'bathtub', 'bag', 'otherstructure', 'otherfurniture', 'otherprop',
)  # fmt: skip


@DATASETS.register_module()
class NYUDv2Dataset(ListedDataset):
    """NYUD-v2: 795 training and 654 test pictures, 40 classes.

    Reads both packagings of the multi-task release, told apart by the files that are
    there::

        data_root/images/0001.{png,jpg}          segmentation/0001.png
                  depth/0001.{npy,png}           normals/0001.{npy,png}
                  edge/0001.{npy,png}            gt_sets/{train,val}.txt

    The release has 425x560 pixels, the Kinect frame without its border; whole frames of
    480x640 in the same layout work too. A picture without the file of a task lacks that task.
    Encodings:

    - labels: 0 unlabelled, 1..40 the classes;
    - depth: metres (``.npy``) or millimetres (16-bit ``.png``), 0 unknown. NaN is damage, not
      unknown: the release has none;
    - normals: float in [-1, 1] (``.npy``) or ``2 v / 255 - 1`` (8-bit ``.png``). The published
      readers leave the length as it is on disk, here normals are unit vectors unless
      ``unit_normals=False``; the direction is the same;
    - boundaries: {0, 1} or {0, 255}, as supplied with the release.

    Args:
        tasks (Mapping): Any of ``semseg``, ``depth``, ``normal``, ``boundary``.
        data_root (str): Folder with the layout above.
        ann_file (str): List of stems, one per line.
        normal_axes (str): Axes of the normals on disk.
        normals_min_norm (float): Stored normals of at most this length are unknown. An
            8-bit normal is never exactly zero; 0.1 makes mid-grey pixels unknown.
        unit_normals (bool): Whether normals are scaled to unit length.
        **kwargs: As in :class:`BaseDenseDataset`.

    Raises:
        DataError: If pictures of the list are missing, or no file of a task is there.
    """

    METAINFO = dict(classes=NYUD_CLASSES)
    available_tasks = ('semseg', 'depth', 'normal', 'boundary')
    setup_hint = (
        'NYUD-v2 in the multi-task packaging (NYUDv2.tar.gz of ATRC, or NYUD_MT.tgz of ASTMT) '
        'unpacks to the folder that `data_root` names; docs/datasets.md has the layout and its '
        'converters.'
    )
    default_size = (425, 560)
    pictures = MapFiles(('images',), ('.png', '.jpg', '.jpeg'))

    def __init__(
        self,
        tasks: Mapping[str, Any],
        data_root: str = 'data/nyud',
        ann_file: str = 'gt_sets/train.txt',
        normal_axes: str = 'x-right y-up z-back',
        normals_min_norm: float = 0.0,
        unit_normals: bool = True,
        **kwargs: Any,
    ) -> None:
        self.stored_axes = check_axes(normal_axes)
        self.normals_min_norm = normals_min_norm
        self.unit_normals = unit_normals
        super().__init__(tasks, data_root=data_root, ann_file=ann_file, **kwargs)

    def map_files(self) -> dict[str, MapFiles]:
        return dict(
            semseg=MapFiles(('segmentation',), ('.png', '.npy')),
            depth=MapFiles(('depth',), ('.npy', '.png')),
            normal=MapFiles(('normals',), ('.npy', '.png')),
            boundary=MapFiles(('edge',), ('.npy', '.png')),
        )

    def read_gt(self, key: str, files: Mapping[str, str], size: tuple[int, int]) -> Array:
        path = files[key]
        if key == 'semseg':
            return self._read_semseg(path)
        if key == 'depth':
            return read_metres(path, self.backend_args)
        if key == 'normal':
            return read_normals(
                path,
                self.stored_axes,
                self.normals_min_norm,
                self.unit_normals,
                self.backend_args,
            )
        return read_binary(path, self.backend_args)

    def _read_semseg(self, path: str) -> Array:
        stored = read_label(path, self.backend_args)
        check_labels(
            stored, 0, len(NYUD_CLASSES), path,
            'the 40-class maps hold 0 (unlabelled) to 40. Maps of 894 classes must be converted '
            'first.',
        )  # fmt: skip
        # 0 wraps to 255, unknown.
        return stored.astype(np.uint8) - np.uint8(1)
