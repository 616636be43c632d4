"""What data sets in the MTAN preprocessing share: numbered arrays in a folder per map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdense.utils import DataError

from .base import Array
from .file_lists import ListedDataset, MapFiles
from .reading import check_finite, check_labels, folder_index, read_label, read_map, read_unit_image


class NumberedArrays(ListedDataset):
    """Base of data sets that hold ``<split>/<map>/<number>.npy``, the MTAN preprocessing.

    Numbers run from 0 without gaps and are listed in numeric order, 2 before 10. Pictures are
    floats in [0, 1] and become uint8 by :func:`~mmdense.datasets.reading.read_unit_image`;
    labels are -1 where unknown.

    Args:
        tasks (Mapping): Task name to config or task.
        data_root (str): Folder of the splits.
        split (str): Folder of the split, ``'train'`` or ``'val'``.
        **kwargs: As in :class:`BaseDenseDataset`.

    Raises:
        DataError: If the split has no numbered pictures, or numbers are missing.
    """

    def __init__(self, tasks: Mapping[str, Any], data_root: str, split: str, **kwargs: Any) -> None:
        self.split = split
        self.pictures = self.arrays('image')
        super().__init__(tasks, data_root=data_root, **kwargs)

    def arrays(self, folder: str) -> MapFiles:
        """The arrays of a folder of the split."""
        return MapFiles((f'{self.split}/{folder}',), ('.npy',))

    @property
    def list_name(self) -> str:
        return f'{self.split}/image'

    def stems(self) -> Sequence[str]:
        folder = f'{self.data_root}/{self.split}/image'
        names = folder_index(folder, ('.npy',), self.backend_args)
        # 007 would be listed as 7, whose file is not there.
        numbers = [int(x) for x in names if x.isascii() and x.isdigit() and str(int(x)) == x]
        if not numbers:
            raise DataError(
                f"{type(self).__name__}: split '{self.split}' has no pictures 0.npy, 1.npy, ... in "
                f"'{folder}'. Correct `data_root` or `split`. {self.setup_hint}"
            )
        if max(numbers) >= 2 * len(numbers):
            raise DataError(
                f"{type(self).__name__}: '{folder}' has {len(numbers)} pictures, but '"
                f"{max(numbers)}.npy' among them, which would be number {max(numbers) + 1}. Remove "
                f'it if it is none of them, or copy what is missing. {self.setup_hint}'
            )
        return [str(number) for number in range(max(numbers) + 1)]

    def read_picture(self, path: str) -> Array:
        return read_unit_image(path, self.backend_args)

    def read_signed_labels(self, path: str, num_classes: int) -> Array:
        """Labels of -1 (unknown) to ``num_classes - 1``, as uint8 with 255 unknown."""
        stored = read_label(path, self.backend_args)
        check_labels(
            stored,
            -1,
            num_classes - 1,
            path,
            f'expected -1 (unknown) and 0 to {num_classes - 1}. Check the folder of the labels.',
        )
        # -1 wraps to 255, unknown.
        return stored.astype(np.int64).astype(np.uint8)

    def read_floats(self, path: str, what: str) -> Array:
        """A map ``(H, W)`` of finite floats, float32."""
        stored = read_map(path, self.backend_args)
        if stored.ndim != 2 or stored.dtype.kind != 'f':
            raise DataError(
                f'{path}: {what} is {stored.dtype} {stored.shape}, expected floats (H, W[, 1]).'
            )
        check_finite(stored, path, what)
        return stored.astype(np.float32)
