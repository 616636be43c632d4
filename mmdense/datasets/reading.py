"""Reading the files of a data set, with errors that name the file and the remedy."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmengine import fileio
from PIL import Image

from mmdense.tasks.normal import vector_length
from mmdense.utils import DataError

Array = np.ndarray

#: Axes that every array of normals has after reading.
LIBRARY_AXES = 'x-right y-up z-back'


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


def _decode(path: str, flags: int, backend_args: dict[str, Any] | None) -> Array:
    content = read_bytes(path, backend_args)
    try:
        image = (
            None if _truncated(content) else cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        )
    except cv2.error:
        image = None
    if image is None:
        raise DataError(
            f'{path}: is not a complete image that OpenCV can decode; it has {len(content)} bytes '
            f'and starts with {content[:8]!r}. Copy or download it again (a truncated download or '
            'an HTML error page are usual), or take it off the list.'
        )
    return image


def _truncated(content: bytes) -> bool:
    """Whether the end mark of a JPEG or PNG is missing; some decoders fill up with grey."""
    tail = content[len(content) // 2 :]
    if content.startswith(b'\xff\xd8'):
        return b'\xff\xd9' not in tail
    return content.startswith(b'\x89PNG') and b'IEND' not in tail


def read_image(path: str, backend_args: dict[str, Any] | None = None) -> Array:
    """A picture as RGB uint8 ``(H, W, 3)``; grey pictures are repeated, alpha is dropped.

    Raises:
        DataError: If the file is no image.
    """
    # EXIF orientation is ignored: labels are stored in sensor orientation.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.cvtColor(_decode(path, flags, backend_args), cv2.COLOR_BGR2RGB)


def read_map(path: str, backend_args: dict[str, Any] | None = None) -> Array:
    """A label picture or a ``.npy`` array as stored: ``(H, W)`` or ``(H, W, 3)`` in RGB order.

    Raises:
        DataError: If the file is broken, a pickle, or has another number of channels.
    """
    if path.endswith('.npy'):
        try:
            array = np.load(io.BytesIO(read_bytes(path, backend_args)), allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise DataError(
                f'{path}: is not a plain numpy array ({error}). Pickled objects are not read; '
                'save it again with np.save(path, array).'
            ) from error
        if array.ndim == 3 and array.shape[2] == 1:
            array = array[..., 0]
    else:
        array = _decode(path, cv2.IMREAD_UNCHANGED, backend_args)
        if array.ndim == 3:
            array = cv2.cvtColor(array[..., :3], cv2.COLOR_BGR2RGB)
    if array.ndim not in (2, 3):
        raise DataError(f'{path}: holds an array of shape {array.shape}, expected (H, W[, 3]).')
    return array


def read_label(path: str, backend_args: dict[str, Any] | None = None) -> Array:
    """A label map ``(H, W)`` of an integer type; of a palette picture, the indices.

    Raises:
        DataError: If the file is no map of integers.
    """
    array = _palette_indices(path, backend_args)
    if array is None:
        array = read_map(path, backend_args)
    if array.ndim == 2 and np.issubdtype(array.dtype, np.integer):
        return array
    if array.ndim == 2 and np.equal(np.mod(array, 1), 0).all():
        return array.astype(np.int64)
    raise DataError(
        f'{path}: labels are {array.dtype} {array.shape}, expected integers (H, W). Convert '
        'coloured label pictures to class indices first.'
    )


def _palette_indices(path: str, backend_args: dict[str, Any] | None) -> Array | None:
    """Indices of a palette picture, which OpenCV would decode to colours; None for others."""
    if path.endswith('.npy'):
        return None
    try:
        with Image.open(io.BytesIO(read_bytes(path, backend_args))) as picture:
            return np.array(picture) if picture.mode == 'P' else None
    except OSError:  # not an image: the other decoder words the error
        return None


def decode_normals(stored: Array, axes: str = LIBRARY_AXES, min_norm: float = 0.0) -> Array:
    """Stored normals to unit vectors in the axes of the library.

    8-bit pictures are ``2 v / 255 - 1``, where no pixel is exactly zero; float arrays are
    taken as they are, with non-finite values unknown.

    Args:
        stored (Array): ``(H, W, 3)``, uint8 or float in [-1, 1].
        axes (str): Axes of ``stored``, see :func:`axis_signs`.
        min_norm (float): Vectors of at most this length are unknown.

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
    length[length <= max(min_norm, 1e-6)] = np.inf
    scale = 1 / length
    normals *= cv2.merge([scale, scale, scale])
    signs = axis_signs(axes)
    if (signs < 0).any():
        normals *= signs
    return normals


def axis_signs(axes: str) -> Array:
    """Signs ``(3,)`` that turn normals stored in ``axes`` into those of the library.

    Args:
        axes (str): ``'x-<right|left> y-<up|down> z-<back|front>'``; back is towards the
            camera, front into the scene.

    Raises:
        ValueError: If ``axes`` has another form.

    Example:
        >>> axis_signs('x-right y-down z-front').tolist()
        [1.0, -1.0, -1.0]
    """
    match = re.fullmatch(r'x-(right|left) y-(up|down) z-(back|front)', axes)
    if match is None:
        raise ValueError(
            f"normal_axes is {axes!r}; expected 'x-<right|left> y-<up|down> z-<back|front>', for "
            f"example '{LIBRARY_AXES}'."
        )
    kept = ('right', 'up', 'back')
    return np.array([1 if a == b else -1 for a, b in zip(match.groups(), kept)], np.float32)


def folder_index(
    folder: str, extensions: Sequence[str], backend_args: dict[str, Any] | None = None
) -> dict[str, str]:
    """Stem to file name for the files of a folder, by one listing; {} if it is absent.

    Args:
        folder (str): The folder, not searched below.
        extensions (Sequence[str]): Such as ``('.png', '.jpg')``; the first wins.
        backend_args (dict | None): File backend.
    """
    if not fileio.isdir(folder, backend_args=backend_args):
        return {}
    rank = {extension: index for index, extension in enumerate(extensions)}
    found: dict[str, str] = {}
    for name in fileio.list_dir_or_file(folder, list_dir=False, backend_args=backend_args):
        stem, dot, extension = name.rpartition('.')
        extension = dot + extension.lower()
        if extension not in rank:
            continue
        known = found.get(stem)
        if known is None or rank[extension] < rank['.' + known.rpartition('.')[2].lower()]:
            found[stem] = name
    return found


def read_list(path: str, backend_args: dict[str, Any] | None = None) -> list[str]:
    """The non-empty lines of a text file, stripped.

    Raises:
        DataError: If the file is missing, empty or not text.
    """
    try:
        text = read_bytes(path, backend_args).decode()
    except UnicodeDecodeError as error:
        raise DataError(f'{path}: is not a UTF-8 text file ({error}).') from error
    return [line.strip() for line in text.splitlines() if line.strip()]
