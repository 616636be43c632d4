"""Reading the files of a data set, with errors that name the file and the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmengine import fileio

from mmdense.conventions import LIBRARY_AXES, axis_signs
from mmdense.tasks.normal import stack_channels, vector_length
from mmdense.utils import DataError

from .formats import decode_npy, decode_palette, decode_picture

Array = np.ndarray


def read_bytes(path: str, backend_args: dict[str, Any] | None = None) -> bytes:
    """The content of a file.

    Raises:
        DataError: If it is missing, empty or unreadable.
    """
    try:
        content = fileio.get(path, backend_args=backend_args)
    except FileNotFoundError as error:
        raise DataError(
            f'{path}: the file does not exist, though it was listed. Restore it, or set '
            "on_error='skip' to go on without it."
        ) from error
    except OSError as error:
        raise DataError(f'{path}: cannot be read ({error}). Check disk and permissions.') from error
    if not content:
        raise DataError(f'{path}: the file is empty. Copy or download it again.')
    return content


def read_image(path: str, backend_args: dict[str, Any] | None = None) -> Array:
    """A picture as RGB uint8 ``(H, W, 3)``; grey pictures are repeated, alpha is dropped.

    Raises:
        DataError: If the file is no image.
    """
    # EXIF orientation is ignored: labels are stored in sensor orientation.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.cvtColor(
        decode_picture(path, read_bytes(path, backend_args), flags), cv2.COLOR_BGR2RGB
    )


def read_map(path: str, backend_args: dict[str, Any] | None = None) -> Array:
    """A label picture or a ``.npy`` array as stored: ``(H, W)`` or ``(H, W, 3)`` in RGB order.

    Raises:
        DataError: If the file is broken, a pickle, no array of numbers, or has another number
            of channels.
    """
    return _decode_map(path, read_bytes(path, backend_args))


def _decode_map(path: str, content: bytes) -> Array:
    if path.endswith('.npy'):
        array = decode_npy(path, content)
        if array.ndim == 3 and array.shape[2] == 1:
            array = array[..., 0]
    else:
        array = decode_picture(path, content, cv2.IMREAD_UNCHANGED)
        if array.ndim == 3:
            array = cv2.cvtColor(array[..., :3], cv2.COLOR_BGR2RGB)
    if array.ndim not in (2, 3) or not array.size:
        raise DataError(f'{path}: holds an array of shape {array.shape}, expected (H, W[, 3]).')
    return array


def read_label(path: str, backend_args: dict[str, Any] | None = None) -> Array:
    """A label map ``(H, W)`` of an integer type; of a palette picture, the indices.

    Raises:
        DataError: If the file is no map of integers.
    """
    content = read_bytes(path, backend_args)
    array = None if path.endswith('.npy') else decode_palette(path, content)
    if array is None:
        array = _decode_map(path, content)
    if array.ndim == 2 and np.issubdtype(array.dtype, np.integer):
        return array
    if array.dtype == bool and array.ndim == 2:
        return array.astype(np.uint8)
    if array.ndim != 2:
        raise DataError(
            f'{path}: labels are {array.dtype} {array.shape}, expected integers (H, W). Convert '
            'coloured label pictures to class indices first.'
        )
    # Bounded, so that the conversion to integers is exact; NaN fails both tests.
    whole = (np.abs(array) < 2**31) & (np.trunc(array) == array)
    if not whole.all():
        raise DataError(
            f'{path}: labels are {array.dtype} and hold {array[~whole][0]}; expected integers. '
            'Another kind of map seems to lie in their place, or they were interpolated.'
        )
    return array.astype(np.int64)


def read_metres(path: str, backend_args: dict[str, Any] | None = None) -> Array:
    """A depth map ``(H, W)`` float32 in metres; integers are millimetres of 16 bits or more.

    Raises:
        DataError: If values are not finite: unknown depth is 0, so NaN is damage. Also for
            8-bit maps, whose unit nobody knows.
    """
    stored = read_map(path, backend_args)
    if stored.ndim != 2 or stored.dtype.itemsize == 1:
        raise DataError(
            f'{path}: depth is {stored.dtype} {stored.shape}, expected (H, W) in metres (float) '
            'or millimetres (16 bit).'
        )
    if np.issubdtype(stored.dtype, np.integer):
        return stored.astype(np.float32) * np.float32(1e-3)
    check_finite(stored, path, 'depth')
    return stored.astype(np.float32)


def check_finite(array: Array, path: str, what: str) -> None:
    """Refuse an array with NaN or infinite values.

    Raises:
        DataError: With their number and the place of the first.
    """
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f'{path}: {what} holds {int(bad.sum())} values that are NaN or infinite, the first '
            f'{array[first]} at {first}. Unknown pixels must be 0; convert the file again.'
        )


def check_labels(labels: Array, low: int, high: int, path: str, meaning: str) -> None:
    """Refuse labels outside ``low`` to ``high``.

    Args:
        labels (Array): Integers.
        low (int): Smallest label allowed.
        high (int): Largest label allowed.
        path (str): The file, for the message.
        meaning (str): What the range stands for and what to do, for the message.

    Raises:
        DataError: With the range that was found.
    """
    if labels.min() < low or labels.max() > high:
        raise DataError(f'{path}: labels run from {labels.min()} to {labels.max()}; {meaning}')


def read_binary(
    path: str, backend_args: dict[str, Any] | None = None, one: int | None = None
) -> Array:
    """A map of zeros and ones ``(H, W)`` uint8, from {0, 1}, {0, 255} or 8-bit grey.

    8-bit grey counts as 1 above half of the value that stands for one.

    Args:
        path (str): The file.
        backend_args (dict | None): File backend.
        one (int | None): The stored value of one, 1 or 255. None: 255 if any value exceeds 1.

    Raises:
        DataError: If the map has other values.
    """
    return binary_map(one_channel(read_map(path, backend_args)), path, one)


def one_channel(stored: Array) -> Array:
    """``(H, W)`` of a map whose channels are equal, as editors save grey pictures."""
    if stored.ndim == 3 and (stored == stored[..., :1]).all():
        return stored[..., 0]
    return stored


def binary_map(stored: Array, path: str, one: int | None = None) -> Array:
    """:func:`read_binary` of an array that was read from ``path``."""
    if one is None:
        one = 255 if stored.max() > 1 else 1
    grey = stored.dtype == np.uint8 and one == 255
    if stored.ndim != 2 or not (grey or ((stored == 0) | (stored == one)).all()):
        raise DataError(
            f'{path}: the map is {stored.dtype} {stored.shape} with values from {stored.min()} to '
            f'{stored.max()}; expected (H, W) of 0 and {one}.'
        )
    return (stored > one / 2).astype(np.uint8)


def read_unit_image(path: str, backend_args: dict[str, Any] | None = None) -> Array:
    """A picture stored as ``.npy``: floats in [0, 1] to RGB uint8 ``(H, W, 3)``.

    A value x becomes the integer nearest to 255 x. Pictures that were made by dividing uint8
    by 255 come back exactly, in any float type (half precision errs by 0.06 at most).

    Raises:
        DataError: If the array is no such picture.
    """
    stored = read_map(path, backend_args)
    if stored.ndim == 3 and stored.shape[2] == 3 and stored.dtype == np.uint8:
        return stored
    fits = stored.ndim == 3 and stored.shape[2] == 3 and stored.dtype.kind == 'f'
    # A resampled picture may overshoot by a rounding error; NaN fails the comparison.
    if not fits or not ((stored >= -1e-3) & (stored <= 1 + 1e-3)).all():
        raise DataError(
            f'{path}: the picture is {stored.dtype} {stored.shape} with values from '
            f'{stored.min()} to {stored.max()}; expected floats (H, W, 3) in [0, 1], RGB.'
        )
    return np.rint(np.clip(stored.astype(np.float64), 0, 1) * 255).astype(np.uint8)


def read_normals(
    path: str,
    axes: str = LIBRARY_AXES,
    min_norm: float = 0.0,
    unit: bool = True,
    backend_args: dict[str, Any] | None = None,
) -> Array:
    """Normals from an 8-bit picture or a float ``.npy``, see :func:`decode_normals`.

    Raises:
        DataError: If the array is neither.
    """
    return decode_normals(read_stored_normals(path, backend_args), axes, min_norm, unit)


def read_stored_normals(path: str, backend_args: dict[str, Any] | None = None) -> Array:
    """Normals as they are on disk, ``(H, W, 3)`` uint8 or float in [-1, 1].

    Raises:
        DataError: If the array is neither.
    """
    stored = read_map(path, backend_args)
    if stored.ndim != 3 or stored.shape[2] != 3:
        raise DataError(f'{path}: normals have shape {stored.shape}, expected (H, W, 3).')
    if stored.dtype == np.uint8:
        return stored
    if stored.dtype.kind != 'f':
        raise DataError(f'{path}: normals are {stored.dtype}, expected uint8 or float in [-1, 1].')
    # NaN and infinities are unknown; looking for them costs more than the whole check.
    if stored.min(initial=0) >= -1.01 and stored.max(initial=0) <= 1.01:
        return stored
    finite = stored[np.isfinite(stored)]
    if np.abs(finite).max(initial=0) > 1.01:
        raise DataError(
            f'{path}: normals run from {finite.min():g} to {finite.max():g}; float normals must '
            'be in [-1, 1]. Decode 8-bit values by 2 v / 255 - 1 first, or store them as uint8.'
        )
    return stored


def decode_normals(
    stored: Array, axes: str = LIBRARY_AXES, min_norm: float = 0.0, unit: bool = True
) -> Array:
    """Stored normals to unit vectors in the axes of the library.

    8-bit pictures are ``2 v / 255 - 1``, where no pixel is exactly zero; float arrays are
    taken as they are, with non-finite values unknown.

    Args:
        stored (Array): ``(H, W, 3)``, uint8 or float in [-1, 1].
        axes (str): Axes of ``stored``, see
            :func:`~mmdense.conventions.axis_signs`.
        min_norm (float): Vectors of at most this length are unknown.
        unit (bool): Whether known vectors are scaled to unit length. False leaves the length
            that they have on disk, within half a percent of 1 in 8-bit pictures.

    Returns:
        Array: float32 ``(H, W, 3)``; the zero vector is unknown.
    """
    # Written with few passes over (H, W, 3): this is the dearest step of a loader after PNG.
    if stored.dtype == np.uint8:
        normals = np.multiply(stored, np.float32(2 / 255), dtype=np.float32)
        normals -= 1
    else:
        normals = stored.astype(np.float32)
    length = vector_length(normals)
    if not np.isfinite(length).all():
        normals = np.nan_to_num(normals, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        length = vector_length(normals)
    known = length > max(min_norm, 1e-6)
    if unit:
        length[~known] = np.inf
        scale = 1 / length
    else:
        scale = known.astype(np.float32)
    normals *= stack_channels(scale)
    signs = axis_signs(axes)
    if (signs < 0).any():
        normals *= signs
    return normals


def check_axes(axes: str) -> str:
    """``axes`` itself if :func:`axis_signs` reads it, so that a data set fails at build."""
    axis_signs(axes)
    return axes


def folder_index(
    folder: str,
    endings: Sequence[str],
    backend_args: dict[str, Any] | None = None,
    recursive: bool = False,
) -> dict[str, str]:
    """Stem to file name for the files of a folder, by one listing; {} if it is absent.

    Args:
        folder (str): The folder, not searched below unless ``recursive``.
        endings (Sequence[str]): How names end after the stem, such as ``('.png', '.jpg')`` or
            ``('_disparity.png',)``, in any case; the first wins.
        backend_args (dict | None): File backend.
        recursive (bool): Whether folders below count; stems and names then hold their path.
    """
    if not fileio.isdir(folder, backend_args=backend_args):
        return {}
    lowered = [ending.lower() for ending in endings]
    found: dict[str, tuple[int, str]] = {}
    for name in fileio.list_dir_or_file(
        folder, list_dir=False, recursive=recursive, backend_args=backend_args
    ):
        low = name.lower()
        for rank, ending in enumerate(lowered):
            if low.endswith(ending):
                stem = name[: len(name) - len(ending)]
                if stem not in found or rank < found[stem][0]:
                    found[stem] = (rank, name)
                break
    return {stem: name for stem, (_, name) in found.items()}


def read_list(path: str, backend_args: dict[str, Any] | None = None) -> list[str]:
    """The non-empty lines of a text file, stripped.

    Raises:
        DataError: If the file is missing, empty or not text.
    """
    try:
        # Some editors begin a text with a mark, which would be part of the first name.
        text = read_bytes(path, backend_args).decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise DataError(f'{path}: is not a UTF-8 text file ({error}).') from error
    return [line.strip() for line in text.splitlines() if line.strip()]
