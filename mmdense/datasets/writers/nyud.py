"""Writer of the four-task NYUD-v2 layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..nyudv2 import NYUD_CLASSES
from ..reading import LIBRARY_AXES, axis_signs
from .base import Encoder, LayoutWriter, class_ids
from .encode import encode_normals, jpg_bytes, npy_bytes, png_bytes

#: Packaging to the extension of each kind of file.
_EXTENSIONS = {
    'png': dict(img='.png', semseg='.png', depth='.npy', normal='.png', boundary='.png'),
    'npy': dict(img='.jpg', semseg='.png', depth='.npy', normal='.npy', boundary='.npy'),
}
#: On disk 0 is unlabelled and the classes start at 1.
_IDS = range(1, len(NYUD_CLASSES) + 1)
_FOLDERS = dict(
    img='images', semseg='segmentation', depth='depth', normal='normals', boundary='edge'
)


class NYUDWriter(LayoutWriter):
    """The NYUD-v2 layout of four tasks, in one of its two packagings.

    ``'png'`` is ``NYUDv2/`` (pictures, normals and boundaries as PNG), ``'npy'`` is ``NYUD_MT/``
    (JPEG pictures, the others as arrays)::

        images/<id>    segmentation/<id>.png    depth/<id>.npy    normals/<id>    edge/<id>
        gt_sets/{train,val}.txt

    Reads ``semseg`` (40 classes), ``depth`` (metres), ``normal`` and ``boundary``.

    Args:
        root (str | Path): Folder of the data set.
        packaging (str): ``'png'`` or ``'npy'``.
        overwrite (bool): Whether files that exist are written anew.

    Raises:
        ValueError: If ``packaging`` is unknown.
    """

    tasks = ('semseg', 'depth', 'normal', 'boundary')

    def __init__(self, root: str | Path, packaging: str = 'png', overwrite: bool = False) -> None:
        if packaging not in _EXTENSIONS:
            raise ValueError(f"NYUDWriter: packaging is {packaging!r}; choose 'png' or 'npy'.")
        super().__init__(root, overwrite)
        self.packaging = packaging

    def default_id(self, split: str, index: int) -> str:
        # One folder holds all splits.
        return f'{split}_{index:05d}'

    def paths(self, split: str, name: str) -> dict[str, Path]:
        extensions = _EXTENSIONS[self.packaging]
        return {key: self.root / _FOLDERS[key] / f'{name}{extensions[key]}' for key in extensions}

    def encoders(self, name: str, sample: Mapping[str, Any]) -> dict[str, Encoder]:
        as_png, gt = self.packaging == 'png', sample.get('gt', {})
        image = png_bytes if as_png else jpg_bytes
        found: dict[str, Encoder] = {'img': lambda: image(sample['img'])}
        if 'semseg' in gt:
            found['semseg'] = lambda: png_bytes(
                class_ids(gt['semseg'], _IDS, 0, 'NYUD-v2').astype(np.uint8)
            )
        if 'depth' in gt:
            found['depth'] = lambda: npy_bytes(gt['depth'].astype(np.float32))
        if 'normal' in gt and as_png:
            signs = axis_signs(LIBRARY_AXES)
            found['normal'] = lambda: png_bytes(encode_normals(gt['normal'], signs))
        elif 'normal' in gt:
            found['normal'] = lambda: npy_bytes(gt['normal'].astype(np.float32))
        if 'boundary' in gt:
            edges = (gt['boundary'] == 1).astype(np.uint8)
            found['boundary'] = lambda: png_bytes(edges * 255) if as_png else npy_bytes(edges)
        return found

    def finish(self) -> None:
        for split, names in self.names.items():
            self.write_list(f'gt_sets/{split}.txt', list(names))
