"""Pictures and arrays from the bytes of a file, which may be damaged or made to do harm."""

from __future__ import annotations

import io
import math
import zlib

import cv2
import numpy as np
from PIL import Image

from mmdense.utils import DataError

Array = np.ndarray


def decode_picture(path: str, content: bytes, flags: int) -> Array:
    """Pixels of a PNG, JPEG or other picture, in the channel order of OpenCV.

    Args:
        path (str): Where the content came from, for messages.
        content (bytes): The file.
        flags (int): As of ``cv2.imdecode``.

    Raises:
        DataError: If the file is truncated, altered or no picture.
    """
    fault = _picture_fault(content)
    image = None
    if not fault:
        try:
            image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        except cv2.error as error:
            fault = str(error.err)
    if image is None:
        raise DataError(
            f'{path}: is not a complete image that OpenCV can decode'
            f'{f" ({fault})" if fault else ""}; it has {len(content)} bytes '
            f'and starts with {content[:8]!r}. Copy or download it again (a truncated download or '
            'an HTML error page are usual), or take it off the list.'
        )
    return image


def decode_palette(path: str, content: bytes) -> Array | None:
    """Indices ``(H, W)`` of a palette PNG, which OpenCV would turn into colours.

    Args:
        path (str): Where the content came from, for messages.
        content (bytes): The file.

    Returns:
        Array | None: None for any other file.

    Raises:
        DataError: If the file is truncated or altered, or states a size that no map has.
    """
    # Byte 25 of a PNG is the colour type, and 3 is a palette.
    if not content.startswith(b'\x89PNG') or content[25:26] != b'\x03':
        return None
    fault = _png_fault(content)
    try:
        if not fault:
            with Image.open(io.BytesIO(content)) as picture:
                return np.array(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        fault = str(error)
    raise DataError(
        f'{path}: is not a complete palette picture ({fault}). Copy or download it again.'
    )


def _picture_fault(content: bytes) -> str:
    """What is wrong with a JPEG or PNG that decoders may pass over; '' if nothing is known."""
    if content.startswith(b'\xff\xd8'):
        # Some decoders fill the missing rest up with grey.
        return '' if b'\xff\xd9' in content[_scan_start(content) :] else 'no end mark'
    return _png_fault(content) if content.startswith(b'\x89PNG') else ''


def _scan_start(content: bytes) -> int:
    """Where the pixels of a JPEG begin: after its head, which may hold a thumbnail."""
    position = 2
    while position + 4 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        position += 2 + int.from_bytes(content[position + 2 : position + 4], 'big')
        if marker == 0xDA:
            break
    return position


def _png_fault(content: bytes) -> str:
    """Walk the chunks of a PNG: lengths, checksums, end mark, and a size that is possible."""
    position, ended = 8, False
    while not ended and position + 12 <= len(content):
        length = int.from_bytes(content[position : position + 4], 'big')
        kind = content[position + 4 : position + 8]
        end = position + 8 + length
        if end + 4 > len(content):
            break
        checksum = int.from_bytes(content[end : end + 4], 'big')
        if zlib.crc32(memoryview(content)[position + 4 : end]) != checksum:
            return f'checksum of chunk {kind!r} is wrong'
        if kind == b'IHDR' and length >= 8:
            width, height = np.frombuffer(content, '>u4', 2, position + 8).tolist()
            # Deflate shrinks at most 1032 times and a pixel has at least one bit.
            if width * height // 8 > 1032 * len(content):
                return f'states {width}x{height} pixels, more than it can hold'
        ended = kind == b'IEND'
        position = end + 4
    return '' if ended else 'no end mark'


def decode_npy(path: str, content: bytes) -> Array:
    """A ``.npy`` array of numbers, its header checked before any memory is taken.

    Args:
        path (str): Where the content came from, for messages.
        content (bytes): The file.

    Raises:
        DataError: If the file is truncated, a pickle, or holds no numbers.
    """
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran_order, dtype = header(stream)
    # The header is a Python literal, and numpy also tries those of Python 2: of a damaged one
    # both parsers raise whatever they stumble over.
    except Exception as error:
        raise DataError(
            f'{path}: is not a plain numpy array ({error}). Save it again with '
            'np.save(path, array).'
        ) from error
    if dtype.hasobject:
        raise DataError(
            f'{path}: is not a plain numpy array but a pickle, which could run code and is not '
            'read. Save it again with np.save(path, array).'
        )
    if dtype.kind not in 'biuf':
        raise DataError(f'{path}: holds {dtype} values; expected integers or real numbers.')
    count, have = math.prod(shape), len(content) - stream.tell()
    if count * dtype.itemsize != have or min(shape, default=0) < 0:
        raise DataError(
            f'{path}: the header states {dtype} {shape}, which is {count * dtype.itemsize} bytes, '
            f'but {have} follow. The file was cut off or altered; copy or download it again.'
        )
    flat = np.frombuffer(content, dtype, count, offset=stream.tell())
    # A copy, because arrays over bytes are read-only and transforms write in place.
    return flat.reshape(shape, order='F' if fortran_order else 'C').copy()
