"""NYUD-v2 with four tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmdense.registry import DATASETS
from mmdense.utils import DataError

from .base import Array, BaseDenseDataset
from .reading import decode_normals, folder_index, read_image, read_label, read_list, read_map

NYUD_CLASSES = (
    'wall', 'floor', 'cabinet', 'bed', 'chair', 'sofa', 'table', 'door', 'window', 'bookshelf',
    'picture', 'counter', 'blinds', 'desk', 'shelves', 'curtain', 'dresser', 'pillow', 'mirror',
    'floor mat', 'clothes', 'ceiling', 'books', 'refrigerator', 'television', 'paper', 'towel',
    'shower curtain', 'box', 'whiteboard', 'person', 'night stand', 'toilet', 'sink', 'lamp',
    'bathtub', 'bag', 'otherstructure', 'otherfurniture', 'otherprop',
)  # fmt: skip

#: Task key to the folder and the extensions that are looked for, in this order.
_FOLDERS = {
    'semseg': ('segmentation', ('.png', '.npy')),
    'depth': ('depth', ('.npy', '.png')),
    'normal': ('normals', ('.npy', '.png')),
    'boundary': ('edge', ('.npy', '.png')),
}


@DATASETS.register_module()
class NYUDv2Dataset(BaseDenseDataset):
    """NYUD-v2: 795 training and 654 test pictures, 40 classes.

    Reads both packagings of the multi-task release, told apart by the files that are
    there::

        data_root/images/0001.{png,jpg}          segmentation/0001.png
                  depth/0001.{npy,png}           normals/0001.{npy,png}
                  edge/0001.{npy,png}            gt_sets/{train,val}.txt

    The release has 425x560 pixels, the Kinect frame without its border; whole frames of
    480x640 in the same layout work too. Encodings: labels 0 unlabelled, 1..40 the
    classes; depth in metres (``.npy``) or millimetres (16-bit ``.png``), 0 unknown; normals
    float in [-1, 1] or 8 bit, re-normalised to unit length; boundaries {0, 1} or {0, 255}.
    A picture without the file of a task lacks that task.

    Args:
        tasks (Mapping): Any of ``semseg``, ``depth``, ``normal``, ``boundary``.
        data_root (str): Folder with the layout above.
        ann_file (str): List of stems, one per line.
        normal_axes (str): Axes of the normals on disk.
        normals_min_norm (float): Stored normals of at most this length are unknown. An
            8-bit normal is never exactly zero; 0.1 makes mid-grey pixels unknown.
        **kwargs: As in :class:`BaseDenseDataset`.

    Raises:
        DataError: If pictures of the list are missing, or no file of a task is there.
    """

    METAINFO = dict(classes=NYUD_CLASSES)
    available_tasks = ('semseg', 'depth', 'normal', 'boundary')
    setup_hint = (
        'NYUD-v2 in the multi-task packaging (NYUDv2.tar.gz of ATRC, or NYUD_MT.tgz of ASTMT) '
        'unpacks to the folder that `data_root` names; docs/datasets.md has the layout.'
    )
    default_size = (425, 560)

    def __init__(
        self,
        tasks: Mapping[str, Any],
        data_root: str = 'data/nyud',
        ann_file: str = 'gt_sets/train.txt',
        normal_axes: str = 'x-right y-up z-back',
        normals_min_norm: float = 0.0,
        **kwargs: Any,
    ) -> None:
        self.stored_axes = normal_axes
        self.normals_min_norm = normals_min_norm
        super().__init__(tasks, data_root=data_root, ann_file=ann_file, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        stems = read_list(self.ann_file, self.backend_args)
        images = self._index('images', ('.png', '.jpg', '.jpeg'))
        missing = [stem for stem in stems if stem not in images]
        if missing and (self.on_error == 'raise' or len(missing) == len(stems)):
            raise DataError(
                f"NYUDv2Dataset: {len(missing)} of {len(stems)} pictures of '{self.ann_file}' are "
                f"not in '{self.data_root}/images' (.png or .jpg), for example '{missing[0]}'. "
                f'{self.setup_hint}'
            )
        entries: list[dict[str, Any]] = [
            # A missing picture keeps its place on the list and fails when it is read.
            dict(
                sample_id=stem,
                img_path=images.get(stem, f'{self.data_root}/images/{stem}.png'),
                gt_paths={},
            )
            for stem in stems
        ]
        for key in self.tasks:
            folder, extensions = _FOLDERS[key]
            files = self._index(folder, extensions)
            count = 0
            for entry in entries:
                if entry['sample_id'] in files:
                    entry['gt_paths'][key] = files[entry['sample_id']]
                    count += 1
            self._report(key, folder, extensions, count, len(entries))
        return entries

    def _index(self, folder: str, extensions: tuple[str, ...]) -> dict[str, str]:
        root = f'{self.data_root}/{folder}'
        names = folder_index(root, extensions, self.backend_args)
        return {stem: f'{root}/{name}' for stem, name in names.items()}

    def _report(
        self, key: str, folder: str, extensions: tuple[str, ...], count: int, total: int
    ) -> None:
        where = f"'{self.data_root}/{folder}' ({' or '.join(extensions)})"
        if count == 0:
            raise DataError(
                f"NYUDv2Dataset: task '{key}' has no ground truth in {where} for any of "
                f"{total} pictures. Take '{key}' out of `tasks`, or put the files there. "
                f'{self.setup_hint}'
            )
        if count < total:
            print_log(
                f"NYUDv2Dataset: {total - count} of {total} pictures lack task '{key}' in {where}.",
                logger='current',
            )

    def read_sample(self, info: dict[str, Any]) -> dict[str, Any]:
        readers: dict[str, Callable[[str], Array]] = dict(
            semseg=self._read_semseg,
            depth=self._read_depth,
            normal=self._read_normal,
            boundary=self._read_boundary,
        )
        return dict(
            img=read_image(info['img_path'], self.backend_args),
            gt={key: readers[key](path) for key, path in info['gt_paths'].items()},
            img_path=info['img_path'],
            sample_id=info['sample_id'],
        )

    def _read_semseg(self, path: str) -> Array:
        stored = read_label(path, self.backend_args)
        if stored.min() < 0 or stored.max() > len(NYUD_CLASSES):
            raise DataError(
                f'{path}: labels run from {stored.min()} to {stored.max()}; the 40-class maps '
                'hold 0 (unlabelled) to 40. Maps of 894 classes must be converted first.'
            )
        # 0 wraps to 255, unknown.
        return stored.astype(np.uint8) - np.uint8(1)

    def _read_depth(self, path: str) -> Array:
        stored = read_map(path, self.backend_args)
        if np.issubdtype(stored.dtype, np.integer):
            return stored.astype(np.float32) * np.float32(1e-3)
        return np.nan_to_num(stored.astype(np.float32), nan=0.0, posinf=0.0)

    def _read_normal(self, path: str) -> Array:
        stored = read_map(path, self.backend_args)
        if stored.ndim != 3:
            raise DataError(f'{path}: normals have shape {stored.shape}, expected (H, W, 3).')
        return decode_normals(stored, self.stored_axes, self.normals_min_norm)

    def _read_boundary(self, path: str) -> Array:
        stored = read_map(path, self.backend_args)
        # The packagings differ in the value of a boundary, 1 or 255; both count as half or more.
        return (stored > (0.5 if stored.max() <= 1 else 127)).astype(np.uint8)
