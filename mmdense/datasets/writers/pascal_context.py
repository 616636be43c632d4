"""Writer of the five-task PASCAL-Context layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..pascal_context import PASCAL_CLASSES
from ..pascal_parts import PERSON, object_categories
from ..reading import LIBRARY_AXES, axis_signs
from .base import Array, Encoder, LayoutWriter, class_ids
from .encode import encode_normals, jpg_bytes, mat_bytes, png_bytes

#: One name of PASCAL-Part for each part class 1..6: head, torso, arms, legs.
PART_NAMES = ('head', 'torso', 'luarm', 'llarm', 'luleg', 'llleg')


@dataclass(frozen=True)
class AnnotatedObject:
    """An object of PASCAL-Part as it is written.

    Attributes:
        category: Name of its PASCAL VOC category.
        index: Number of that category, 1..20; 15 is person.
        mask: ``(H, W)`` bool, the whole object.
        parts: Name and mask ``(H, W)`` of each part, in the order in which they are painted.
    """

    category: str
    index: int
    mask: Array
    parts: Sequence[tuple[str, Array]] = field(default=())


class PASCALContextWriter(LayoutWriter):
    """The PASCAL-Context layout of five tasks.

    ::

        JPEGImages/<id>.jpg                  semseg/VOC12/<id>.png
        pascal-context/trainval/<id>.mat     human_parts/<id>.mat
        normals_distill/<id>.png             sal_distill/<id>.png
        ImageSets/Context/{train,val}.txt    ImageSets/Parts/{train,val}.txt

    Reads ``semseg`` (21 classes), ``part`` (7 classes), ``normal``, ``saliency``, and for the
    boundaries ``sample['aux']['context']``, the map of context categories. Human parts are
    written as the objects ``sample['objects']`` (:class:`AnnotatedObject`); without those, the part
    map becomes one person. The lists of ``ImageSets/Parts`` hold the categories of the
    objects of each picture, as JSON.

    Args:
        root (str | Path): Folder of the data set.
        normal_ids (Mapping[int, str] | None): Context categories where normals are
            known, number to name; written to ``normal_ids.txt``.
        overwrite (bool): Whether files that exist are written anew.
    """

    tasks = ('semseg', 'part', 'normal', 'saliency', 'boundary')

    def __init__(
        self,
        root: str | Path,
        normal_ids: Mapping[int, str] | None = None,
        overwrite: bool = False,
    ) -> None:
        super().__init__(root, overwrite)
        self.normal_ids = dict(normal_ids or {})

    def default_id(self, split: str, index: int) -> str:
        return f'{split}_{index:06d}'

    def paths(self, split: str, name: str) -> dict[str, Path]:
        return dict(
            img=self.root / 'JPEGImages' / f'{name}.jpg',
            semseg=self.root / 'semseg' / 'VOC12' / f'{name}.png',
            boundary=self.root / 'pascal-context' / 'trainval' / f'{name}.mat',
            part=self.root / 'human_parts' / f'{name}.mat',
            normal=self.root / 'normals_distill' / f'{name}.png',
            saliency=self.root / 'sal_distill' / f'{name}.png',
        )

    def encoders(self, name: str, sample: Mapping[str, Any]) -> dict[str, Encoder]:
        gt, context = sample.get('gt', {}), sample.get('aux', {}).get('context')
        found: dict[str, Encoder] = {'img': lambda: jpg_bytes(sample['img'])}
        if 'semseg' in gt:
            found['semseg'] = lambda: png_bytes(
                class_ids(gt['semseg'], range(len(PASCAL_CLASSES)), 255, 'PASCAL').astype(np.uint8)
            )
        if 'part' in gt:
            objects = sample.get('objects')
            if objects is None:
                objects = person_of_parts(gt['part'])
            found['part'] = lambda: mat_bytes(part_annotation(name, objects))
        if 'normal' in gt:
            signs = axis_signs(LIBRARY_AXES)
            found['normal'] = lambda: png_bytes(encode_normals(gt['normal'], signs))
        if 'saliency' in gt:
            found['saliency'] = lambda: png_bytes((gt['saliency'] == 1).astype(np.uint8) * 255)
        if context is not None:
            found['boundary'] = lambda: mat_bytes(dict(LabelMap=context.astype(np.uint16)))
        return found

    def finish(self) -> None:
        for split, names in self.names.items():
            cache = self.root / 'ImageSets' / 'Parts' / f'{split}.txt'
            # Made anew: the reader's own test, equal names, misses changed annotations.
            cache.unlink(missing_ok=True)
            parts = {name: self.paths(split, name)['part'] for name in names}
            if any(path.is_file() for path in parts.values()):
                object_categories(
                    str(cache),
                    {name: str(path) if path.is_file() else None for name, path in parts.items()},
                    show=False,
                )
            self.write_list(f'ImageSets/Context/{split}.txt', list(names))
        if self.normal_ids:
            lines = [f'{number} {name}' for number, name in sorted(self.normal_ids.items())]
            self.write_list('normal_ids.txt', lines)


def person_of_parts(labels: Array) -> list[AnnotatedObject]:
    """The part map of a picture as one person; none if no pixel shows a part."""
    parts = [(name, labels == value) for value, name in enumerate(PART_NAMES, 1) if value in labels]
    if not parts:
        return []
    mask = np.logical_or.reduce([mask for _, mask in parts])
    return [AnnotatedObject('person', PERSON, mask, parts)]


def part_annotation(name: str, objects: Sequence[AnnotatedObject]) -> dict[str, Array]:
    """The variable ``anno`` of a PASCAL-Part file.

    A structure with the fields ``imname`` and ``objects``; an object has ``class``,
    ``class_ind``, ``mask`` and ``parts``, a part ``part_name`` and ``mask``. As in the published
    files, a list without members is the empty matrix.
    """
    items = [
        (
            item.category,
            item.index,
            item.mask.astype(np.uint8),
            _structs(
                ('part_name', 'mask'),
                [(part, mask.astype(np.uint8)) for part, mask in item.parts],
            ),
        )
        for item in objects
    ]
    members = _structs(('class', 'class_ind', 'mask', 'parts'), items)
    return dict(anno=_structs(('imname', 'objects'), [(name, members)]))


def _structs(fields: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Array:
    """A MATLAB structure array ``(1, n)``."""
    if not rows:
        return np.zeros((0, 0))
    array = np.empty((1, len(rows)), dtype=[(key, object) for key in fields])
    for column, row in enumerate(rows):
        array[0, column] = row
    return array
