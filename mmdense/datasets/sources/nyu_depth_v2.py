"""NYU Depth V2 as its authors publish it: one ``.mat`` file of 1 449 labelled frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy import ndimage

from mmdense.utils import DataError

from ..reading import decode_normals, read_map
from ..rooms.annotations import find_boundaries
from .geometry import normals_from_depth
from .mat_file import MatFile

Array = np.ndarray

#: The part of the 480x640 frame that the multi-task release keeps, 425x560: rows 46 to 470 and
#: columns 41 to 600 counted from 1 (Gupta et al., CVPR 2013).
CROP = (slice(45, 470), slice(40, 600))
#: Intrinsics of the colour camera, to which the depth maps are registered: the toolbox's
#: fx, fy, cx, cy, whose pixels are counted from 1, moved to centres at i + 0.5.
INTRINSICS = np.array(
    [
        [518.857901, 0, 325.582449 - 0.5],
        [0, 519.469611, 253.736166 - 0.5],
        [0, 0, 1],
    ]
)
#: Class 1..40 to class 1..13, in the order of SceneNet (bed, books, ceiling, chair, floor,
#: furniture, objects, picture, sofa, table, tv, wall, window); the content of `class13Mapping.mat`.
FORTY_TO_THIRTEEN = (
    12, 5, 6, 1, 4, 9, 10, 12, 13, 6, 8, 6, 13, 10, 6, 13, 6, 7, 7, 5, 7, 3, 2, 6, 11, 7, 7, 7, 7,
    7, 7, 6, 7, 7, 7, 7, 7, 7, 6, 7,
)  # fmt: skip
#: Widest strip without a label, in pixels, that is closed before boundaries are drawn.
MAX_GAP = 8


class NYUDepthV2Source:
    """The labelled frames of NYU Depth V2.

    Boundaries are those between the annotated segments (class and instance), after strips of
    unlabelled pixels up to :data:`MAX_GAP` wide are closed by the nearest segment. Normals come
    from ``normals``, a folder of published ones, or else from the in-filled depth by
    :func:`~.geometry.normals_from_depth`. Neither reproduces the files of the multi-task release
    to the pixel: results on converted data are not comparable with published ones in these
    two tasks.

    Args:
        labeled (str | Path): ``nyu_depth_v2_labeled.mat``.
        splits (str | Path): ``splits.mat`` with ``trainNdxs`` and ``testNdxs``.
        mapping (str | Path): ``classMapping40.mat`` (``mapClass``), or ``labels40.mat``
            (``labels40``), the frames in 40 classes.
        num_classes (int): 40 or 13.
        size (tuple[int, int] | None): (H, W) to which whole frames are resized; None cuts
            them to 425x560.
        normals (str | Path | None): Folder of ``<frame>.npy`` or ``.png`` normals, frame in four
            digits from 0001, 480x640 or already 425x560.
        tasks (Sequence[str]): What to make.

    Raises:
        DataError: If a file is missing or holds something else.
        MissingDependencyError: If h5py is needed and absent.
        ValueError: If ``num_classes`` is neither.
    """

    def __init__(
        self,
        labeled: str | Path,
        splits: str | Path,
        mapping: str | Path,
        num_classes: int = 40,
        size: tuple[int, int] | None = None,
        normals: str | Path | None = None,
        tasks: Sequence[str] = ('semseg', 'depth', 'normal', 'boundary'),
    ) -> None:
        if num_classes not in (13, 40):
            raise ValueError(f'NYUDepthV2Source: num_classes is {num_classes}; choose 40 or 13.')
        self.frames = MatFile(labeled, 'nyu_depth_v2_labeled.mat')
        self.size = size
        self.num_classes = num_classes
        self.normals = None if normals is None else Path(normals)
        self.tasks = tuple(tasks)
        count = self.frames.shape('images')[-1]
        names = MatFile(splits, 'splits.mat')
        self.numbers = {
            split: _frame_numbers(names, key, count)
            for split, key in (('train', 'trainNdxs'), ('val', 'testNdxs'))
        }
        self._classes = _ClassMaps(mapping, num_classes)
        if self.normals is not None and not self.normals.is_dir():
            raise DataError(
                f"NYU Depth V2: the folder of normals '{self.normals}' does not exist; leave it "
                'out to have normals computed from the depth.'
            )

    @property
    def settings(self) -> dict[str, Any]:
        return dict(
            size=None if self.size is None else list(self.size),
            num_classes=self.num_classes,
            normals='from depth' if self.normals is None else 'given',
        )

    def ids(self) -> Mapping[str, Sequence[str]]:
        return {
            split: [f'{number:04d}' for number in found] for split, found in self.numbers.items()
        }

    def read(self, split: str, index: int) -> dict[str, Any]:
        number = self.numbers[split][index]
        at = number - 1
        labels = self.frames.page('labels', at)
        depth = np.nan_to_num(self.frames.page('depths', at).astype(np.float32))
        maps: dict[str, Array] = {}
        if 'semseg' in self.tasks:
            maps['semseg'] = self._classes.page(at, labels)
        if 'depth' in self.tasks:
            maps['depth'] = depth
        if 'boundary' in self.tasks:
            instances = self.frames.page('instances', at).astype(np.int32)
            maps['boundary'] = annotation_boundaries(labels.astype(np.int32) * 256 + instances)
        if 'normal' in self.tasks:
            maps['normal'] = self._normals(number, depth)
        return self._framed(self.frames.page('images', at), maps, f'{number:04d}')

    def _normals(self, number: int, depth: Array) -> Array:
        if self.normals is None:
            return normals_from_depth(depth, INTRINSICS)
        stem = self.normals / f'{number:04d}'
        for path in (stem.with_suffix('.npy'), stem.with_suffix('.png')):
            if path.is_file():
                found = decode_normals(read_map(str(path)))
                if found.shape[:2] == depth.shape:
                    return found
                if found.shape[:2] == (CROP[0].stop - CROP[0].start, CROP[1].stop - CROP[1].start):
                    whole = np.zeros((*depth.shape, 3), np.float32)
                    whole[CROP] = found
                    return whole
                raise DataError(
                    f'{path}: normals are {found.shape[:2]} (H, W), expected {depth.shape} or '
                    '(425, 560).'
                )
        raise DataError(
            f"NYU Depth V2: frame {number:04d} has no normals '{stem}.npy' or '.png'. Complete the "
            'folder, or leave it out to have normals computed from the depth.'
        )

    def _framed(self, image: Array, maps: dict[str, Array], name: str) -> dict[str, Any]:
        """Cut or resize a frame with its maps."""
        intrinsics = INTRINSICS.copy()
        if self.size is None:
            rows, columns = CROP
            intrinsics[0, 2] -= columns.start
            intrinsics[1, 2] -= rows.start
            image = np.ascontiguousarray(image[CROP])
            maps = {key: np.ascontiguousarray(value[CROP]) for key, value in maps.items()}
        else:
            height, width = image.shape[:2]
            intrinsics[0] *= self.size[1] / width
            intrinsics[1] *= self.size[0] / height
            to = self.size[::-1]
            image = cv2.resize(image, to, interpolation=cv2.INTER_AREA)
            maps = {
                key: cv2.resize(value, to, interpolation=cv2.INTER_NEAREST_EXACT)
                for key, value in maps.items()
            }
        return dict(img=image, gt=maps, intrinsics=intrinsics, sample_id=name)


class _ClassMaps:
    """Labels of a frame in 40 or 13 classes, from either of the published mapping files."""

    def __init__(self, path: str | Path, num_classes: int) -> None:
        self.file = MatFile(path, 'classMapping40.mat or labels40.mat')
        self.table: Array | None = None
        if 'mapClass' in self.file.names():
            table = self.file.array('mapClass').ravel()
            self.table = np.concatenate([[0], table]).astype(np.uint8)
            if table.min() < 0 or table.max() > 40:
                raise DataError(
                    f'{path}: mapClass runs from {table.min()} to {table.max()}; it must map to '
                    'the classes 1..40.'
                )
        elif 'labels40' not in self.file.names():
            raise DataError(
                f"{path}: has the variables {self.file.names()}, expected 'mapClass' "
                "(classMapping40.mat) or 'labels40' (labels40.mat)."
            )
        self.thirteen = np.array([0, *FORTY_TO_THIRTEEN], np.uint8) if num_classes == 13 else None

    def page(self, at: int, labels: Array) -> Array:
        """Class indices ``(H, W)`` uint8 of frame ``at``, 255 unknown."""
        if self.table is None:
            ids = self.file.page('labels40', at).astype(np.uint8)
        elif int(labels.max()) >= len(self.table):
            raise DataError(
                f'{self.file.path}: maps {len(self.table) - 1} labels, but frame {at + 1} has '
                f'label {labels.max()}. Take the mapping that belongs to the release.'
            )
        else:
            ids = self.table[labels]
        if self.thirteen is not None:
            ids = self.thirteen[ids]
        # 0 wraps to 255, unknown.
        return ids - np.uint8(1)


def _frame_numbers(file: MatFile, key: str, count: int) -> list[int]:
    """Numbers of the frames of a split, from 1."""
    numbers = file.array(key).ravel().astype(int).tolist()
    if not numbers or min(numbers) < 1 or max(numbers) > count:
        raise DataError(
            f"{file.path}: '{key}' names {len(numbers)} frames from {min(numbers, default='?')} to "
            f'{max(numbers, default="?")}, but the frames are 1..{count}.'
        )
    return numbers


def annotation_boundaries(segments: Array) -> Array:
    """Boundaries ``(H, W)`` uint8 between annotated segments.

    Args:
        segments (Array): ``(H, W)`` ids; what is below 256 (label 0) is unlabelled. Strips of
            it, up to :data:`MAX_GAP` pixels wide, run along most objects, and would make two
            lines of every border; they are closed first.
    """
    unlabelled = segments < 256
    distance, nearest = ndimage.distance_transform_edt(unlabelled, return_indices=True)
    # A strip is at most as wide as twice its largest distance to a label.
    closed = np.where(distance <= MAX_GAP / 2, segments[tuple(nearest)], 0)
    return find_boundaries(closed)
