"""Arrays to the bytes of a file, and whether a file that is there is whole."""

from __future__ import annotations

import ast
import io
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.io import savemat

Array = np.ndarray

_PNG_END = b'IEND\xaeB`\x82'
#: Bytes of text at the start of a MATLAB file; scipy puts the time of day there.
_MAT_TEXT = 116


def png_bytes(array: Array) -> bytes:
    """A picture or map as PNG: ``(H, W)`` uint8 or uint16, or RGB ``(H, W, 3)`` uint8."""
    # Level 3 writes three times faster than the default 6 for 5 % more bytes.
    return _image_bytes('.png', array, [cv2.IMWRITE_PNG_COMPRESSION, 3])


def jpg_bytes(image: Array, quality: int = 95) -> bytes:
    """RGB ``(H, W, 3)`` uint8 as JPEG."""
    return _image_bytes('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _image_bytes(extension: str, array: Array, options: list[int]) -> bytes:
    if array.dtype not in (np.uint8, np.uint16):
        raise ValueError(f'{extension} files hold uint8 or uint16, not {array.dtype}.')
    stored = np.ascontiguousarray(array[..., ::-1] if array.ndim == 3 else array)
    done, data = cv2.imencode(extension, stored, options)
    if not done:
        raise ValueError(f'OpenCV cannot write {array.dtype} {array.shape} as {extension}.')
    return data.tobytes()


def npy_bytes(array: Array) -> bytes:
    """An array as ``.npy``."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def mat_bytes(variables: Mapping[str, Any]) -> bytes:
    """Variables as a compressed MATLAB 5 file; equal variables give equal bytes."""
    buffer = io.BytesIO()
    savemat(buffer, dict(variables), do_compression=True, oned_as='row')
    text = b'MATLAB 5.0 MAT-file, written by mmdense'.ljust(_MAT_TEXT)
    return text + buffer.getvalue()[_MAT_TEXT:]


def encode_normals(normals: Array, signs: Array) -> Array:
    """Unit normals to 8 bit, ``(n + 1) / 2 * 255``.

    No 8-bit value is zero: unknown pixels become mid-grey (128), a vector of length 0.007.

    Args:
        normals (Array): ``(H, W, 3)`` in the axes of the library, zero unknown.
        signs (Array): Signs ``(3,)`` of the axes on disk, see
            :func:`~mmdense.datasets.reading.axis_signs`.

    Returns:
        Array: ``(H, W, 3)`` uint8.
    """
    return np.rint((np.clip(normals * signs, -1, 1) + 1) * 127.5).astype(np.uint8)


def is_whole(path: Path) -> bool:
    """Whether a file exists and was not cut short, as far as its first and last bytes tell."""
    try:
        size = path.stat().st_size
        if not size:
            return False
        with path.open('rb') as file:
            if path.suffix == '.npy':
                return _npy_size(file) == size
            file.seek(max(0, size - 64))
            tail = file.read()
    except FileNotFoundError:
        return False
    if path.suffix == '.png':
        return tail.endswith(_PNG_END)
    if path.suffix in ('.jpg', '.jpeg'):
        return b'\xff\xd9' in tail
    return True


def _npy_size(file: Any) -> int:
    """Bytes that a ``.npy`` file must have, from its header; -1 if that is damaged."""
    head = file.read(10)
    if len(head) < 10 or head[:6] != b'\x93NUMPY' or head[6] != 1:
        return -1
    length = struct.unpack('<H', head[8:10])[0]
    try:
        header = ast.literal_eval(file.read(length).decode('latin1').strip())
        count = int(np.prod(header['shape'], dtype=np.int64))
        return 10 + length + count * np.dtype(header['descr']).itemsize
    except (ValueError, SyntaxError, KeyError, TypeError):
        return -1
