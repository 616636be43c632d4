"""NYUv2 with 13 classes and three tasks, in the preprocessing of MTAN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmdense.registry import DATASETS

from .base import Array
from .file_lists import MapFiles
from .numbered_arrays import NumberedArrays
from .reading import LIBRARY_AXES, check_axes, decode_normals, read_stored_normals

NYUV2_CLASSES = (
    'bed', 'books', 'ceiling', 'chair', 'floor', 'furniture', 'objects', 'picture', 'sofa',
    'table', 'tv', 'wall', 'window',
)  # fmt: skip


@DATASETS.register_module()
class NYUv2Dataset(NumberedArrays):
    """NYUv2 of MTAN (LibMTL, Auto-Lambda, EMA-Net): 795 / 654 pictures of 288x384, 13 classes.

    Reads ``data_root/{train,val}/{image,label,depth,normal}/{0..n-1}.npy``:

    - image ``(H, W, 3)``: float RGB in [0, 1]; becomes the nearest uint8, exactly what it was
      where it came from 8-bit pictures;
    - label ``(H, W)``: -1 unknown, 0..12 the classes;
    - depth ``(H, W, 1)``: metres, 0 unknown; NaN is damage;
    - normal ``(H, W, 3)``: unit vectors, the zero vector unknown.

    The published masks are "sum over channels != 0", which also drops normals whose
    components cancel, such as (0.707, -0.707, 0). Here the norm decides; ``valid_rule='sum'``
    gives the published mask.

    Args:
        tasks (Mapping): Any of ``semseg``, ``depth``, ``normal``.
        data_root (str): Folder with ``train`` and ``val``.
        split (str): ``'train'`` or ``'val'``.
        normal_axes (str): Axes of the normals on disk.
        valid_rule (str): Normals are known where their ``'norm'``, or the ``'sum'`` of their
            components, is not zero.
        **kwargs: As in :class:`BaseDenseDataset`.

    Raises:
        DataError: If pictures are missing, or no file of a task is there.
        ValueError: If ``valid_rule`` is unknown.
    """

    METAINFO = dict(classes=NYUV2_CLASSES)
    available_tasks = ('semseg', 'depth', 'normal')
    setup_hint = (
        'The preprocessed NYUv2 of MTAN unpacks to a folder with `train` and `val`; '
        'docs/datasets.md has the layout and its converters.'
    )
    default_size = (288, 384)

    def __init__(
        self,
        tasks: Mapping[str, Any],
        data_root: str = 'data/nyuv2',
        split: str = 'train',
        normal_axes: str = LIBRARY_AXES,
        valid_rule: str = 'norm',
        **kwargs: Any,
    ) -> None:
        if valid_rule not in ('norm', 'sum'):
            raise ValueError(
                f"NYUv2Dataset: `valid_rule` is {valid_rule!r}; choose 'norm' or 'sum'."
            )
        self.stored_axes = check_axes(normal_axes)
        self.valid_rule = valid_rule
        super().__init__(tasks, data_root, split, **kwargs)

    def map_files(self) -> dict[str, MapFiles]:
        return dict(
            semseg=self.arrays('label'), depth=self.arrays('depth'), normal=self.arrays('normal')
        )

    def read_gt(self, key: str, files: Mapping[str, str], size: tuple[int, int]) -> Array:
        path = files[key]
        if key == 'semseg':
            return self.read_signed_labels(path, len(NYUV2_CLASSES))
        if key == 'depth':
            return self.read_floats(path, 'depth')
        stored = read_stored_normals(path, self.backend_args)
        normals = decode_normals(stored, self.stored_axes)
        if self.valid_rule == 'sum':
            # Of the stored values in their own precision, as the published masks are.
            normals[stored.sum(axis=-1) == 0] = 0
        return normals
