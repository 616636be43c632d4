"""Writers of Cityscapes: the official folders, and the small arrays of MTAN."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmdense.utils import DataError

from ..cityscapes import CITYSCAPES_IDS
from .base import Array, Encoder, LayoutWriter, class_ids
from .encode import png_bytes
from .nyuv2 import ArrayWriter

#: Label id of pixels without a class ('unlabeled').
_UNLABELLED = 0
_NAME = re.compile(r'[a-zA-Z-]+_\d{6}_\d{6}')
#: Largest disparity of the 16-bit encoding, pixels.
MAX_DISPARITY = (65535 - 1) / 256


class CityscapesWriter(LayoutWriter):
    """The official folders of Cityscapes.

    ::

        leftImg8bit/<split>/<city>/<id>_leftImg8bit.png
        gtFine/<split>/<city>/<id>_gtFine_labelIds.png
        disparity/<split>/<city>/<id>_disparity.png      uint16, 256 d + 1, 0 unknown
        camera/<split>/<city>/<id>_camera.json

    Reads ``semseg`` (19 classes), ``depth``, and for the camera file ``intrinsics`` ``(3, 3)``
    (pixels of this picture, centres at +0.5) and ``baseline`` (metres).
    The splits are folders, so ``lists/<split>.txt`` is only the mark of a finished conversion.

    Args:
        root (str | Path): Folder of the data set.
        depth_kind (str): What ``depth`` holds: ``'disparity_px'`` (-1 unknown, 0 infinitely
            far) or ``'metric'`` (metres, 0 unknown; needs the camera).
        overwrite (bool): Whether files that exist are written anew.

    Raises:
        ValueError: If ``depth_kind`` is unknown.
    """

    tasks = ('semseg', 'depth')

    def __init__(
        self, root: str | Path, depth_kind: str = 'disparity_px', overwrite: bool = False
    ) -> None:
        if depth_kind not in ('disparity_px', 'metric'):
            raise ValueError(
                f"CityscapesWriter: depth_kind is {depth_kind!r}; choose 'disparity_px' or "
                "'metric'."
            )
        super().__init__(root, overwrite)
        self.depth_kind = depth_kind

    def default_id(self, split: str, index: int) -> str:
        return f'{split}_{index:06d}_000019'

    def paths(self, split: str, name: str) -> dict[str, Path]:
        if not _NAME.fullmatch(name):
            raise DataError(
                f'CityscapesWriter: sample id {name!r} is not <city>_<6 digits>_<6 digits>; leave '
                '`sample_id` out to have ids made.'
            )
        city = name.split('_')[0]

        def path(folder: str, ending: str) -> Path:
            return self.root / folder / split / city / f'{name}_{ending}'

        return dict(
            img=path('leftImg8bit', 'leftImg8bit.png'),
            semseg=path('gtFine', 'gtFine_labelIds.png'),
            depth=path('disparity', 'disparity.png'),
            camera=path('camera', 'camera.json'),
        )

    def encoders(self, name: str, sample: Mapping[str, Any]) -> dict[str, Encoder]:
        gt = sample.get('gt', {})
        found: dict[str, Encoder] = {'img': lambda: png_bytes(sample['img'])}
        if 'semseg' in gt:
            found['semseg'] = lambda: png_bytes(
                class_ids(gt['semseg'], CITYSCAPES_IDS, _UNLABELLED, 'Cityscapes').astype(np.uint8)
            )
        if 'depth' in gt:
            found['depth'] = lambda: png_bytes(encode_disparity(self._disparity(sample)))
        if 'baseline' in sample:
            found['camera'] = lambda: camera_bytes(sample['intrinsics'], sample['baseline'])
        return found

    def _disparity(self, sample: Mapping[str, Any]) -> Array:
        depth = sample['gt']['depth']
        if self.depth_kind == 'disparity_px':
            return depth
        if 'baseline' not in sample:
            raise DataError(
                "CityscapesWriter: depth_kind='metric' needs `intrinsics` and `baseline` in "
                'every sample, to make disparities.'
            )
        known = depth > 0
        focal = sample['baseline'] * sample['intrinsics'][0, 0]
        return np.where(known, focal / np.where(known, depth, 1), -1)

    def finish(self) -> None:
        for split, names in self.names.items():
            self.write_list(f'lists/{split}.txt', list(names))


def encode_disparity(disparity: Array) -> Array:
    """Disparities in pixels, negative unknown, to uint16: 256 d + 1, 0 unknown.

    Raises:
        DataError: If one is 256 px or more.
    """
    if (highest := float(disparity.max(initial=0))) > MAX_DISPARITY:
        raise DataError(
            f'CityscapesWriter: a disparity of {highest:.1f} px does not fit the 16-bit encoding, '
            f'which ends at {MAX_DISPARITY:.1f} px. Use a shorter baseline or a smaller picture.'
        )
    return np.where(disparity < 0, 0, np.rint(disparity * 256.0) + 1).astype(np.uint16)


def camera_bytes(intrinsics: Array, baseline: float) -> bytes:
    """The content of a camera file, which counts pixel centres from 0."""
    place = dict.fromkeys(('pitch', 'roll', 'x', 'y', 'yaw', 'z'), 0.0)
    content = dict(
        extrinsic=dict(place, baseline=float(baseline)),
        intrinsic=dict(
            fx=float(intrinsics[0, 0]),
            fy=float(intrinsics[1, 1]),
            u0=float(intrinsics[0, 2]) - 0.5,
            v0=float(intrinsics[1, 2]) - 0.5,
        ),
    )
    return json.dumps(content, indent=4, sort_keys=True).encode()


class CityscapesSmallWriter(ArrayWriter):
    """Cityscapes as MTAN prepared it, arrays of 128x256 (or any other size).

    ::

        {train,val}/{image,<label folder>,depth}/{0..n-1}.npy

    Reads ``semseg`` and ``depth``, the inverse depth without a unit (stored disparity / 65535,
    0 unknown).

    Args:
        root (str | Path): Folder of the data set.
        label_folder (str): Folder of the labels; copies differ (``label``, ``label_7``, ...).
        num_classes (int): 2, 7 or 19.
        overwrite (bool): Whether files that exist are written anew.
    """

    tasks = ('semseg', 'depth')

    def __init__(
        self,
        root: str | Path,
        label_folder: str = 'label',
        num_classes: int = 7,
        overwrite: bool = False,
    ) -> None:
        super().__init__(root, overwrite)
        self.label_folder = label_folder
        self.num_classes = num_classes

    @property
    def folders(self) -> dict[str, str]:
        return {**super().folders, 'semseg': self.label_folder}
