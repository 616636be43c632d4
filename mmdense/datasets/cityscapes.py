"""Cityscapes: the official folders in full resolution, and the small arrays of MTAN."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine import fileio

from mmdense.registry import DATASETS
from mmdense.utils import DataError

from .base import Array
from .file_lists import ListedDataset, MapFiles
from .numbered_arrays import NumberedArrays
from .reading import folder_index, read_bytes, read_label, read_map

CITYSCAPES_CLASSES = (
    'road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light', 'traffic sign',
    'vegetation', 'terrain', 'sky', 'person', 'rider', 'car', 'truck', 'bus', 'train',
    'motorcycle', 'bicycle',
)  # fmt: skip
#: Label ids of the 19 classes, in their order.
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
CITYSCAPES_CATEGORIES = ('flat', 'construction', 'object', 'nature', 'sky', 'human', 'vehicle')
#: Label id of sky, whose place among the classes is 10.
_SKY_ID = CITYSCAPES_IDS[CITYSCAPES_CLASSES.index('sky')]
_MAX_ID = 33


def train_ids(label_ids: Array) -> Array:
    """Label ids (-1 to 33, -1 also as 255) to the 19 classes; all others become 255."""
    table = np.full(256, 255, np.uint8)
    table[list(CITYSCAPES_IDS)] = np.arange(len(CITYSCAPES_IDS))
    return table[label_ids.astype(np.uint8)]


@DATASETS.register_module()
class CityscapesDataset(ListedDataset):
    """Cityscapes from the official folders: 2,975 / 500 pictures of 1024x2048, two tasks.

    Reads, below ``data_root`` and for every city of the split::

        leftImg8bit/<split>/<city>/<name>_leftImg8bit.png
        gtFine/<split>/<city>/<name>_gtFine_labelIds.png
        disparity/<split>/<city>/<name>_disparity.png          16 bit
        camera/<split>/<city>/<name>_camera.json

    Encodings: 19 of the 34 label ids are classes, all others, -1 too, are 255. A disparity p
    of 0 is unknown, otherwise ``d = (p - 1) / 256`` pixels, where 0 is infinitely far.
    ``depth_kind`` says what becomes of it:

    - ``'disparity_px'``: d itself, -1 unknown;
    - ``'metric'``: ``baseline * fx / d`` metres from the camera file, 0 unknown. d = 0 is
      unknown too: infinity is no number.

    TaskPrompter trains on ``sky_disparity_zero=True``; Auto-Lambda, at 256x512, on
    ``disparity_scale=0.25``, which are pixels of that size.

    Samples with depth carry ``intrinsics`` if the camera file is there. The files count pixel
    centres from 0; half a pixel is added, as everywhere here.

    Args:
        tasks (Mapping): Any of ``semseg``, ``depth``.
        data_root (str): Folder of ``leftImg8bit``.
        split (str): ``'train'`` or ``'val'``.
        depth_kind (str): ``'disparity_px'`` or ``'metric'``, as ``tasks['depth'].kind``.
        sky_disparity_zero (bool): Whether sky (label id 23, class 10) is infinitely far, known or
            not.
            Needs the label file of every picture with depth.
        disparity_scale (float): Factor on disparities.
        **kwargs: As in :class:`BaseDenseDataset`.

    Raises:
        DataError: If pictures are missing, or no file of a task is there.
        ValueError: If options do not fit.
    """

    METAINFO = dict(classes=CITYSCAPES_CLASSES)
    available_tasks = ('semseg', 'depth')
    setup_hint = (
        'leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip, disparity_trainvaltest.zip and '
        'camera_trainvaltest.zip of www.cityscapes-dataset.com unpack to the folder that '
        '`data_root` names; docs/datasets.md has the layout and its converters.'
    )
    default_size = (1024, 2048)

    def __init__(
        self,
        tasks: Mapping[str, Any],
        data_root: str = 'data/cityscapes',
        split: str = 'train',
        depth_kind: str = 'disparity_px',
        sky_disparity_zero: bool = False,
        disparity_scale: float = 1.0,
        metainfo: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if depth_kind not in ('disparity_px', 'metric'):
            raise ValueError(
                f"CityscapesDataset: `depth_kind` is {depth_kind!r}; choose 'disparity_px' or "
                "'metric'. The arrays with 'inverse_norm' are read by CityscapesSmallDataset."
            )
        if depth_kind == 'metric' and (sky_disparity_zero or disparity_scale != 1):
            raise ValueError(
                'CityscapesDataset: `sky_disparity_zero` and `disparity_scale` change disparities; '
                "set depth_kind='disparity_px', or leave them out."
            )
        if not disparity_scale > 0:
            raise ValueError(
                f'CityscapesDataset: `disparity_scale` is {disparity_scale}; it must be positive.'
            )
        self.split = split
        self.depth_kind = depth_kind
        self.sky_disparity_zero = sky_disparity_zero
        self.disparity_scale = disparity_scale
        self.pictures = self._files('leftImg8bit', '_leftImg8bit.png')
        self._cities: tuple[str, ...] = ()
        super().__init__(
            tasks,
            data_root=data_root,
            metainfo={'depth_kind': depth_kind, **(metainfo or {})},
            **kwargs,
        )

    def _files(self, folder: str, ending: str) -> MapFiles:
        return MapFiles((f'{folder}/{self.split}',), (ending,))

    def map_files(self) -> dict[str, MapFiles]:
        return dict(
            semseg=self._files('gtFine', '_gtFine_labelIds.png'),
            depth=self._files('disparity', '_disparity.png'),
            camera=self._files('camera', '_camera.json'),
        )

    def required(self, key: str) -> tuple[str, ...]:
        if key != 'depth':
            return (key,)
        sky = ('semseg',) if self.sky_disparity_zero else ()
        return ('depth', *sky, *(('camera',) if self.depth_kind == 'metric' else ()))

    def optional(self) -> tuple[str, ...]:
        return ('camera',) if 'depth' in self.tasks else ()

    @property
    def list_name(self) -> str:
        return self.pictures.folders[0]

    def subfolders(self) -> Sequence[str]:
        return self._cities

    def stems(self) -> Sequence[str]:
        root = f'{self.data_root}/{self.list_name}'
        self.require_path(root, 'split')
        self._cities = tuple(
            sorted(fileio.list_dir_or_file(root, list_file=False, backend_args=self.backend_args))
        )
        return [
            f'{city}/{stem}'
            for city in self._cities
            for stem in sorted(
                folder_index(f'{root}/{city}', self.pictures.endings, self.backend_args)
            )
        ]

    # -- one picture ----------------------------------------------------------

    def read_sample(self, info: dict[str, Any]) -> dict[str, Any]:
        sample = super().read_sample(info)
        if 'camera' in info['files'] and 'depth' in sample['gt']:
            sample['intrinsics'] = read_camera(info['files']['camera'], self.backend_args)[0]
        return sample

    def read_gt(self, key: str, files: Mapping[str, str], size: tuple[int, int]) -> Array:
        if key == 'semseg':
            return train_ids(self._read_ids(files['semseg']))
        disparity = self._read_disparity(files['depth'])
        if self.depth_kind == 'metric':
            intrinsics, baseline = read_camera(files['camera'], self.backend_args)
            focal = np.float32(baseline * intrinsics[0, 0])
            far = np.zeros_like(disparity)
            return np.divide(focal, disparity, out=far, where=disparity > 0)
        if self.sky_disparity_zero:
            ids = self._read_ids(files['semseg'])
            if ids.shape != disparity.shape:
                raise DataError(
                    f'{files["depth"]}: disparity is {disparity.shape}, labels of '
                    f"'{files['semseg']}' are {ids.shape} (H, W)."
                )
            disparity[ids == _SKY_ID] = 0
        return np.where(disparity < 0, -1, disparity * np.float32(self.disparity_scale))

    def _read_ids(self, path: str) -> Array:
        ids = read_label(path, self.backend_args)
        bad = ((ids < -1) | (ids > _MAX_ID)) & (ids != 255)
        if bad.any():
            raise DataError(
                f'{path}: holds the label ids {np.unique(ids[bad])[:8].tolist()}; allowed are -1 '
                f'to {_MAX_ID} and 255. It should be a `labelIds` picture, not `color` or '
                '`instanceIds`.'
            )
        return ids

    def _read_disparity(self, path: str) -> Array:
        """Disparity in pixels, float32 ``(H, W)``; -1 unknown."""
        stored = read_map(path, self.backend_args)
        if stored.dtype != np.uint16 or stored.ndim != 2:
            raise DataError(
                f'{path}: disparity is {stored.dtype} {stored.shape}, expected 16-bit (H, W).'
            )
        values = stored.astype(np.float32)
        return np.where(stored == 0, np.float32(-1), (values - 1) / np.float32(256))


def read_camera(path: str, backend_args: dict[str, Any] | None = None) -> tuple[Array, float]:
    """Intrinsics ``(3, 3)`` in pixels with centres at +0.5, and the baseline in metres.

    Raises:
        DataError: If the file is no camera file of Cityscapes.
    """
    content = read_bytes(path, backend_args)
    try:
        camera = json.loads(content)
        inner, baseline = camera['intrinsic'], float(camera['extrinsic']['baseline'])
        fx, fy, u, v = (float(inner[name]) for name in ('fx', 'fy', 'u0', 'v0'))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f'{path}: is no camera file of Cityscapes ({type(error).__name__}: {error}); expected '
            'intrinsic.fx, fy, u0, v0 and extrinsic.baseline.'
        ) from error
    if not (np.isfinite([fx, fy, u, v, baseline]).all() and min(fx, fy, baseline) > 0):
        raise DataError(
            f'{path}: has fx={fx}, fy={fy}, baseline={baseline}; they must be positive numbers.'
        )
    intrinsics = np.array([[fx, 0, u + 0.5], [0, fy, v + 0.5], [0, 0, 1]], np.float64)
    return intrinsics, baseline


@DATASETS.register_module()
class CityscapesSmallDataset(NumberedArrays):
    """Cityscapes of MTAN (LibMTL, EMA-Net): 2,975 / 500 pictures of 128x256, two tasks.

    Reads ``data_root/{train,val}/{image,<labels>,depth}/{0..n-1}.npy``, of any size:

    - image ``(H, W, 3)``: float RGB in [0, 1]; becomes the nearest uint8;
    - labels ``(H, W)``: -1 unknown. Which folder has how many classes differs between copies:
      ``label_folder`` names it and ``tasks['semseg'].num_classes`` says 2, 7 or 19;
    - depth ``(H, W, 1)``: the raw 16-bit disparity over 65,535 and so an inverse depth without
      a unit, 0 unknown (``kind='inverse_norm'``). Taken as it is: the offset of one that the
      16-bit encoding has is not removed, as published.

    Args:
        tasks (Mapping): Any of ``semseg``, ``depth``.
        data_root (str): Folder with ``train`` and ``val``.
        split (str): ``'train'`` or ``'val'``.
        label_folder (str): Folder of the labels, usually ``label``, ``label_7`` or
            ``label_19``.
        **kwargs: As in :class:`BaseDenseDataset`.

    Raises:
        DataError: If pictures are missing, or no file of a task is there.
        ValueError: If the task has another number of classes than 2, 7 or 19.
    """

    METAINFO = dict(depth_kind='inverse_norm')
    available_tasks = ('semseg', 'depth')
    setup_hint = (
        'The preprocessed Cityscapes of MTAN unpacks to a folder with `train` and `val`; '
        'docs/datasets.md has the layout and its converters.'
    )
    default_size = (128, 256)
    #: Number of classes to their names. The two classes have no official names.
    CLASSES = {
        2: ('0', '1'),
        7: CITYSCAPES_CATEGORIES,
        19: CITYSCAPES_CLASSES,
    }

    def __init__(
        self,
        tasks: Mapping[str, Any],
        data_root: str = 'data/cityscapes_small',
        split: str = 'train',
        label_folder: str = 'label',
        **kwargs: Any,
    ) -> None:
        self.label_folder = label_folder
        super().__init__(tasks, data_root, split, **kwargs)

    def _check_classes(self) -> None:
        if 'semseg' in self.tasks:
            number = self.tasks['semseg'].num_channels
            if number not in self.CLASSES:
                raise ValueError(
                    f"tasks['semseg'].num_classes is {number}, but CityscapesSmallDataset comes "
                    f'with {", ".join(map(str, self.CLASSES))} classes. Set num_classes to that '
                    f"of label_folder='{self.label_folder}'."
                )
            self._metainfo.setdefault('classes', self.CLASSES[number])
        super()._check_classes()

    def map_files(self) -> dict[str, MapFiles]:
        return dict(semseg=self.arrays(self.label_folder), depth=self.arrays('depth'))

    def read_gt(self, key: str, files: Mapping[str, str], size: tuple[int, int]) -> Array:
        if key == 'semseg':
            return self.read_signed_labels(files[key], self.tasks[key].num_channels)
        inverse = self.read_floats(files[key], 'depth')
        if inverse.min() < 0 or inverse.max() > 1:
            raise DataError(
                f'{files[key]}: inverse depth runs from {inverse.min():g} to {inverse.max():g}; '
                'expected 0 (unknown) to 1, disparities over 65535. Metric depth and disparities '
                'in pixels are read by CityscapesDataset.'
            )
        return inverse
