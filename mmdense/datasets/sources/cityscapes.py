"""The official Cityscapes folders as a source of small arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmdense.utils import DataError

from ..cityscapes import CITYSCAPES_CATEGORIES, CITYSCAPES_IDS, train_ids
from ..reading import read_image, read_label, read_map

Array = np.ndarray

#: Label ids of each of the official categories, void left out.
_CATEGORY_IDS = ((7, 8, 9, 10), (11, 12, 13, 14, 15, 16), (17, 18, 19, 20), (21, 22), (23,),
                 (24, 25), tuple(range(26, 34)))  # fmt: skip
#: MTAN's two classes: what moves by itself is foreground.
_FOREGROUND = ('human', 'vehicle')


def label_table(num_classes: int) -> Array:
    """Label id (0..255 as stored) to one of 2, 7 or 19 classes, 255 unknown.

    19 are the training classes. 7 are the categories without void, of all label ids that
    belong to one. 2 are background and foreground (human, vehicle), as in MTAN.

    Raises:
        ValueError: For another number of classes.

    Example:
        >>> label_table(7)[[0, 7, 23, 26]].tolist()
        [255, 0, 4, 6]
    """
    if num_classes == 19:
        return train_ids(np.arange(256))
    if num_classes not in (2, 7):
        raise ValueError(
            f'Cityscapes has versions with 2, 7 or 19 classes; {num_classes} were asked for.'
        )
    table = np.full(256, 255, np.uint8)
    for index, (name, ids) in enumerate(zip(CITYSCAPES_CATEGORIES, _CATEGORY_IDS)):
        table[list(ids)] = index if num_classes == 7 else name in _FOREGROUND
    return table


def regroup(labels: Array, num_classes: int) -> Array:
    """Training labels (0..18, 255) to one of 2, 7 or 19 classes, 255 unknown."""
    stored = np.zeros(256, np.uint8)
    stored[: len(CITYSCAPES_IDS)] = CITYSCAPES_IDS
    return label_table(num_classes)[stored[labels]]


class CityscapesSource:
    """Official folders, shrunk to small arrays as MTAN did.

    Pictures are averaged over areas; labels and disparities take the nearest pixel, and
    disparities keep their value: stored number / 65535, 0 unknown.

    Args:
        root (str | Path): Folder with ``leftImg8bit``, ``gtFine`` and ``disparity``.
        splits (Sequence[str]): Folders below them.
        size (tuple[int, int]): (H, W) of the arrays.
        num_classes (int): 2, 7 or 19.

    Raises:
        DataError: If a folder or a file is missing.
        ValueError: If ``num_classes`` is no version of the labels.
    """

    tasks = ('semseg', 'depth')

    def __init__(
        self,
        root: str | Path,
        splits: Sequence[str] = ('train', 'val'),
        size: tuple[int, int] = (128, 256),
        num_classes: int = 7,
    ) -> None:
        self.root = Path(root)
        self.size = size
        self.num_classes = num_classes
        self.table = label_table(num_classes)
        self.pictures = {split: list_pictures(self.root, split) for split in splits}

    @property
    def settings(self) -> dict[str, Any]:
        return dict(size=list(self.size), num_classes=self.num_classes)

    def ids(self) -> Mapping[str, Sequence[str]]:
        return self.pictures

    def read(self, split: str, index: int) -> dict[str, Any]:
        name = self.pictures[split][index]
        paths = official_paths(self.root, split, name)
        image = read_image(str(paths['img']))
        labels = self.table[read_label(str(paths['semseg'])).astype(np.uint8)]
        stored = read_map(str(paths['depth']))
        if stored.dtype != np.uint16 or stored.ndim != 2:
            raise DataError(
                f'{paths["depth"]}: disparities are {stored.dtype} {stored.shape}, expected 16-bit '
                '(H, W). Copies converted to 8 bit have lost them.'
            )
        width_height = self.size[::-1]
        return dict(
            img=cv2.resize(image, width_height, interpolation=cv2.INTER_AREA),
            gt=dict(
                semseg=cv2.resize(labels, width_height, interpolation=cv2.INTER_NEAREST_EXACT),
                depth=cv2.resize(stored, width_height, interpolation=cv2.INTER_NEAREST_EXACT)
                / np.float32(65535),
            ),
        )


#: Kind of file to its folder and the end of its names.
OFFICIAL = dict(
    img=('leftImg8bit', '_leftImg8bit.png'),
    semseg=('gtFine', '_gtFine_labelIds.png'),
    depth=('disparity', '_disparity.png'),
    camera=('camera', '_camera.json'),
)


def official_paths(root: Path, split: str, name: str) -> dict[str, Path]:
    """The files of a picture ``<city>_<seq>_<frame>`` in the official folders."""
    return {
        key: root / folder / split / name.split('_')[0] / f'{name}{ending}'
        for key, (folder, ending) in OFFICIAL.items()
    }


def list_pictures(root: Path, split: str, kinds: Sequence[str] = ('semseg', 'depth')) -> list[str]:
    """Names of the pictures of a split, sorted, after a look whether their files are there.

    Raises:
        DataError: If the split has no pictures, or a file of ``kinds`` is missing.
    """
    folder, ending = OFFICIAL['img']
    names = sorted(
        path.name.removesuffix(ending) for path in (root / folder / split).glob(f'*/*{ending}')
    )
    if not names:
        raise DataError(
            f"Cityscapes: no pictures in '{root / folder / split}/<city>/*{ending}'. Unpack "
            'leftImg8bit_trainvaltest.zip there; --source names the folder above leftImg8bit.'
        )
    for kind in kinds:
        paths = [official_paths(root, split, name)[kind] for name in names]
        missing = [path for path in paths if not path.is_file()]
        if missing:
            folder, ending = OFFICIAL[kind]
            raise DataError(
                f"Cityscapes: {len(missing)} of {len(names)} pictures of split '{split}' have no "
                f"file in '{root / folder / split}', for example '{missing[0]}'. Unpack "
                f'{folder}_trainvaltest.zip (or {folder}_trainvalextra.zip) beside leftImg8bit.'
            )
    return names
