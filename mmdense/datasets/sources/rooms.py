"""The procedural rooms as a source for every layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdense.utils import suggest

from ..pascal_context import PASCAL_CLASSES
from ..pascal_parts import PERSON
from ..rooms.cache import renderer_digest
from ..rooms.constants import FOCAL
from ..rooms.render import RoomSample, check_request, render_room
from ..writers.pascal_context import PART_NAMES, AnnotatedObject
from .cityscapes import regroup
from .image_domains import curvature, reshading, texture_edges, texture_keypoints
from .rooms_mapping import (
    BASELINE,
    CONTEXT,
    CONTEXT_PERSON,
    FULL_WIDTH,
    LAYOUTS,
)

Array = np.ndarray


class RoomsSource:
    """Rendered rooms in the classes and units of a layout.

    Args:
        layout (str): One of :data:`~.rooms_mapping.LAYOUTS`.
        counts (Mapping): Split to number of pictures.
        size (tuple[int, int] | None): (H, W) of all pictures; None: the layout's own.
        seed (int): Family of scenes.
        num_classes (int): Classes of ``cityscapes-small``: 2, 7 or 19.

    Raises:
        ValueError: If ``layout`` is unknown, or a number is out of range.
    """

    def __init__(
        self,
        layout: str,
        counts: Mapping[str, int],
        size: tuple[int, int] | None = None,
        seed: int = 0,
        num_classes: int = 7,
    ) -> None:
        if layout not in LAYOUTS:
            raise ValueError(f'--layout {layout}: no such layout. {suggest(layout, LAYOUTS)}')
        for split, count in counts.items():
            check_request(seed, split, max(count - 1, 0), size or LAYOUTS[layout].sizes[0], 0)
        self.layout = layout
        self.counts = dict(counts)
        self.sizes = LAYOUTS[layout].sizes if size is None else (size,)
        self.seed = seed
        self.num_classes = num_classes

    @property
    def tasks(self) -> Sequence[str]:
        # The camera is no task, but a file that every picture has.
        return (*_TASKS[self.layout], *(('camera',) if self.layout == 'cityscapes' else ()))

    @property
    def settings(self) -> dict[str, Any]:
        # Pictures of two versions of the renderer do not belong together.
        return dict(
            layout=self.layout,
            sizes=[list(size) for size in self.sizes],
            seed=self.seed,
            num_classes=self.num_classes,
            renderer=renderer_digest(),
        )

    def ids(self) -> dict[str, list[str]]:
        return {split: [''] * count for split, count in self.counts.items()}

    def read(self, split: str, index: int) -> dict[str, Any]:
        size = self.sizes[index % len(self.sizes)]
        room = render_room(self.seed, split, index, size)
        gt = {key: room.gt[key] for key in _TASKS[self.layout] if key in room.gt}
        gt['semseg'] = self._semseg(room)
        sample: dict[str, Any] = dict(img=room.image, gt=gt, intrinsics=room.intrinsics)
        if self.layout == 'pascal':
            sample.update(aux=dict(context=context_map(room)), objects=part_objects(room))
        elif self.layout == 'cityscapes':
            sample['baseline'] = BASELINE
        elif self.layout == 'cityscapes-small':
            gt['depth'] = inverse_depth(gt['depth'])
        elif self.layout == 'taskonomy':
            gt.update(image_domains(room))
        return sample

    def _semseg(self, room: RoomSample) -> Array:
        layout = LAYOUTS[self.layout]
        labels = np.asarray(layout.table, np.uint8)[room.gt['semseg']]
        if layout.person is not None:
            labels[people(room)] = layout.person
        if self.layout == 'cityscapes-small':
            labels = regroup(labels, self.num_classes)
        return labels


#: Layout to the tasks it is written with.
_TASKS = {
    'folder': ('semseg', 'depth', 'normal', 'boundary', 'saliency', 'part'),
    'nyud': ('semseg', 'depth', 'normal', 'boundary'),
    'nyud-mt': ('semseg', 'depth', 'normal', 'boundary'),
    'nyuv2': ('semseg', 'depth', 'normal'),
    'pascal': ('semseg', 'part', 'normal', 'saliency', 'boundary'),
    'cityscapes': ('semseg', 'depth'),
    'cityscapes-small': ('semseg', 'depth'),
    'taskonomy': (
        'semseg', 'depth', 'normal', 'edge_texture', 'keypoints2d', 'reshading',
        'principal_curvature',
    ),
}  # fmt: skip


def people(room: RoomSample) -> Array:
    """Pixels ``(H, W)`` bool that show a person."""
    part = room.gt['part']
    return (part > 0) & (part < 255)


def inverse_depth(depth: Array) -> Array:
    """Metres to the number that MTAN's Cityscapes holds: stored disparity / 65535, 0 unknown.

    As in the real archives the disparity is that of the full-width picture, whatever the size
    of the array, and the encoding's offset of 1 stays in.
    """
    known = depth > 0
    disparity = BASELINE * FOCAL * FULL_WIDTH / np.where(known, depth, 1)
    return np.where(known, (np.rint(disparity * 256) + 1) / 65535, 0).astype(np.float32)


def instance_classes(room: RoomSample) -> Array:
    """Rooms class of each instance id ``(n,)``; -1 for ids that are not in the picture."""
    flat = room.instances.ravel()
    classes = np.full(int(flat.max()) + 1, -1)
    # An instance is of one class but for trimmings; the last pixel read decides.
    classes[flat] = room.gt['semseg'].ravel()
    return classes


def context_map(room: RoomSample) -> Array:
    """Context categories ``(H, W)`` uint16 of a room, in the manner of PASCAL-Context."""
    classes = instance_classes(room)
    table = np.zeros(len(classes), np.uint16)
    for label, categories in enumerate(CONTEXT):
        ids = np.flatnonzero(classes == label)
        table[ids] = np.resize(list(categories), len(ids))
    table[np.unique(room.instances[people(room)])] = CONTEXT_PERSON[0]
    return table[room.instances]


def part_objects(room: RoomSample) -> list[AnnotatedObject]:
    """The objects of a room that PASCAL VOC knows; people with their parts."""
    classes, shown = instance_classes(room), people(room)
    persons = set(np.unique(room.instances[shown]).tolist())
    objects = []
    for instance in np.unique(room.instances).tolist():
        mask = room.instances == instance
        index = PERSON if instance in persons else LAYOUTS['pascal'].table[classes[instance]]
        if not index:
            continue
        parts = [
            (name, mask & (room.gt['part'] == value))
            for value, name in enumerate(PART_NAMES, 1)
            if index == PERSON
        ]
        parts = [(name, part) for name, part in parts if part.any()]
        objects.append(AnnotatedObject(PASCAL_CLASSES[index], index, mask, parts))
    return objects


def image_domains(room: RoomSample) -> dict[str, Array]:
    """Further domains of Taskonomy, named as its folders."""
    return dict(
        edge_texture=texture_edges(room.image),
        keypoints2d=texture_keypoints(room.image),
        reshading=reshading(room.gt['normal'], room.intrinsics),
        principal_curvature=curvature(
            room.gt['normal'], room.depth, room.intrinsics, room.gt['boundary']
        ),
    )
