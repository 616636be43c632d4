"""Writers of arrays in MTAN's layout: what NYUv2 and the small Cityscapes share, and NYUv2."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .base import Array, Encoder, LayoutWriter, class_ids
from .encode import npy_bytes


class ArrayWriter(LayoutWriter):
    """Base of layouts that hold ``<split>/<folder>/<index>.npy``.

    The arrays are image float32 in [0, 1], labels int16 with -1 unknown, depth
    ``(H, W, 1)`` float32 with 0 unknown. The published archives have no list of pictures;
    ``<split>.txt`` is written all the same, as the mark of a finished conversion.
    """

    #: Number of classes of the labels.
    num_classes: int

    @property
    def folders(self) -> dict[str, str]:
        """``'img'`` and task keys to folder names."""
        return dict(img='image', semseg='label', depth='depth', normal='normal')

    def default_id(self, split: str, index: int) -> str:
        return str(index)

    def name(self, split: str, index: int, sample_id: str = '') -> str:
        # Readers count the files of a folder: the name must be the index.
        return str(index)

    def paths(self, split: str, name: str) -> dict[str, Path]:
        return {
            key: self.root / split / self.folders[key] / f'{name}.npy'
            for key in ('img', *self.tasks)
        }

    def encoders(self, name: str, sample: Mapping[str, Any]) -> dict[str, Encoder]:
        gt = sample.get('gt', {})
        makers = dict(semseg=self._labels, depth=_depth, normal=_floats)
        found: dict[str, Encoder] = {'img': lambda: npy_bytes(sample['img'] / np.float32(255))}
        for key in self.tasks:
            if key in gt:
                make, value = makers[key], gt[key]
                found[key] = lambda make=make, value=value: npy_bytes(make(value))  # type: ignore[misc]
        return found

    def finish(self) -> None:
        for split, names in self.names.items():
            self.write_list(f'{split}.txt', list(names))

    def _labels(self, labels: Array) -> Array:
        return class_ids(labels, range(self.num_classes), -1, type(self).__name__)


def _depth(depth: Array) -> Array:
    return depth.astype(np.float32)[..., None]


def _floats(array: Array) -> Array:
    return array.astype(np.float32)


class NYUv2Writer(ArrayWriter):
    """NYUv2 with 13 classes as MTAN prepared it, 288x384 arrays.

    ::

        {train,val}/{image,label,depth,normal}/{0..n-1}.npy

    Reads ``semseg`` (13 classes), ``depth`` (metres) and ``normal``; the arrays keep the
    size they come in.
    """

    tasks = ('semseg', 'depth', 'normal')
    num_classes = 13
