"""Reading ``.mat`` files of MATLAB 5 to 7, which may be damaged or made to do harm."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.io

from mmdense.utils import DataError

from .reading import read_bytes

#: Bytes that one file may unpack to. 500x500 pixels with thirty people of twenty parts take 150 MB.
MAX_BYTES = 2**30
_MAX_DEPTH = 16
_HEADER = 128
# Numbers of data types and array classes in the MAT-file format, level 5.
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_COMPLEX_FLAG, _MAX_DIMS = 1 << 11, 32
_CELL, _STRUCT = 1, 2
_CHAR = 4
_DENSE = (_CHAR, *range(6, 16))  # characters and numbers
# Integers of 8 to 32 bits, float, double, integers of 64 bits; for characters also UTF-8 to -32.
_NUMBER_TYPES = frozenset((1, 2, 3, 4, 5, 6, 7, 9, 12, 13))
_CHAR_TYPES = frozenset((1, 2, 4, 16, 17, 18))


def read_mat(path: str, name: str, backend_args: dict[str, Any] | None = None) -> Any:
    """The variable ``name`` of a ``.mat`` file.

    Sizes that the file states are held against the bytes that it has before memory is taken,
    and nothing in it is executed: functions and objects are refused.

    Args:
        path (str): The file.
        name (str): The variable.
        backend_args (dict | None): File backend.

    Returns:
        Any: What ``scipy.io.loadmat`` makes of it: an array, or a structured array of
        objects for a struct.

    Raises:
        DataError: If the file is damaged, is of version 7.3 (HDF5) or 4, or lacks ``name``.
    """
    content = _unpacked(path, read_bytes(path, backend_args))
    try:
        found = scipy.io.loadmat(io.BytesIO(content), variable_names=[name])
    # A parser of foreign bytes: whatever it stumbles over means that the file is damaged.
    except Exception as error:
        raise DataError(
            f'{path}: is no MATLAB file that scipy can read ({type(error).__name__}: {error}). '
            'Copy or download it again.'
        ) from error
    if name not in found:
        names = sorted(key for key in found if not key.startswith('__'))
        raise DataError(
            f"{path}: has no variable '{name}'{f', only {names}' if names else ''}. Another kind "
            'of file seems to lie in its place.'
        )
    return found[name]


def _unpacked(path: str, content: bytes) -> bytes:
    """The file with its variables unpacked, after all sizes in it are found possible."""
    if content.startswith(b'\x89HDF') or content.startswith(b'MATLAB 7.3'):
        raise DataError(
            f'{path}: is a MATLAB 7.3 file (HDF5), which is not read. Save it in MATLAB with '
            "save(name, '-v7')."
        )
    order = {b'IM': '<', b'MI': '>'}.get(content[126:128])
    if order is None or 0 in content[:4]:
        raise DataError(
            f'{path}: is no MATLAB 5 file; it has {len(content)} bytes and starts with '
            f'{content[:8]!r}. Copy or download it again.'
        )
    parts, position, total = [content[:_HEADER]], _HEADER, _HEADER
    try:
        while position < len(content):
            kind, size = struct.unpack_from(order + 'II', content, position)
            body = content[position + 8 : position + 8 + size]
            if len(body) < size:
                raise ValueError(f'{size} bytes are announced at byte {position}, {len(body)} left')
            if kind == _COMPRESSED:
                element = _inflate(body, MAX_BYTES - total)
                inner, inner_size = struct.unpack_from(order + 'II', element)
                if inner != _MATRIX or inner_size > len(element) - 8:
                    raise ValueError(f'a compressed variable at byte {position} is cut off')
                element = element[: 8 + inner_size]
            else:
                if kind != _MATRIX:
                    raise ValueError(f'no variable is at byte {position}')
                element = content[position : position + 8 + size]
            _check_matrix(memoryview(element)[8:], order)
            parts.append(element)
            total += len(element)
            # Uncompressed variables are padded to eight bytes, compressed ones are not.
            position += 8 + (size if kind == _COMPRESSED else -(-size // 8) * 8)
    except (ValueError, struct.error, zlib.error) as error:
        raise DataError(
            f'{path}: is a damaged MATLAB file ({error}). Copy or download it again.'
        ) from error
    return b''.join(parts)


def _inflate(body: bytes, limit: int) -> bytes:
    """Unpack at most ``limit`` bytes."""
    unpacker = zlib.decompressobj()
    # A limit of 0 would mean none.
    element = unpacker.decompress(body, max(limit, 1))
    if unpacker.unconsumed_tail:
        raise ValueError(f'it unpacks to more than {limit} bytes')
    if not unpacker.eof:
        raise ValueError('a compressed variable ends early')
    return element


def _elements(data: memoryview, order: str) -> list[tuple[int, memoryview]]:
    """Type and content of the elements that follow each other in ``data`` and fill it."""
    found, position = [], 0
    while position < len(data):
        kind, size = struct.unpack_from(order + 'II', data, position)
        if kind >> 16:  # up to four bytes are packed into the tag itself
            kind, size, start, step = kind & 0xFFFF, kind >> 16, position + 4, 8
        else:
            start, step = position + 8, 8 + -(-size // 8) * 8
        if position + step > len(data) or (start == position + 4 and size > 4):
            raise ValueError(f'an array of {size} bytes is announced, {len(data) - start} are left')
        found.append((kind, data[start : start + size]))
        position += step
    return found


def _check_matrix(data: memoryview, order: str) -> None:
    """Hold what arrays and their nested arrays state against their bytes.

    Whatever passes is read by scipy exactly as it was here. scipy uses data types as an index
    and trusts that elements follow in their order: a damaged file can end the process.

    Raises:
        ValueError: If it cannot be true, or arrays nest too deeply for a recursive parser.
    """
    waiting = [(data, 0)]
    while waiting:
        data, depth = waiting.pop()
        if not len(data):
            continue  # an empty cell
        if depth > _MAX_DEPTH:
            raise ValueError(f'arrays nest more than {_MAX_DEPTH} deep')
        fields = _elements(data, order)
        array_class, is_complex, dims = _header(fields, order)
        count = math.prod(dims)
        if array_class in (_CELL, _STRUCT):
            found = fields[3:] if array_class == _CELL else fields[5:]
            per_entry = 1 if array_class == _CELL else _number_of_fields(fields[3:5], order)
            if count * per_entry != len(found) or any(kind != _MATRIX for kind, _ in found):
                what = 'cell' if array_class == _CELL else 'struct'
                raise ValueError(f'a {what} array of {dims} has {len(found)} entries')
            # Without fields, entries would cost memory and no bytes.
            if count > max(len(found), 1):
                raise ValueError(f'a struct array of {dims} has no fields')
            waiting += [(content, depth + 1) for _, content in found]
        elif array_class not in _DENSE:
            raise ValueError(
                f'it holds a function, an object or a sparse array (class {array_class})'
            )
        elif count > len(data):
            raise ValueError(f'an array of {dims} is announced in {len(data)} bytes')
        else:
            _check_values([kind for kind, _ in fields[3:]], array_class, is_complex)


def _header(fields: Sequence[tuple[int, memoryview]], order: str) -> tuple[int, bool, list[int]]:
    """Class, whether it is complex, and dimensions of an array."""
    if len(fields) < 3 or [kind for kind, _ in fields[:3]] != [_UINT32, _INT32, _INT8]:
        raise ValueError('an array has no flags, dimensions and name')
    flags, shape = fields[0][1], fields[1][1]
    if len(flags) != 8 or len(shape) % 4 or not 8 <= len(shape) <= 4 * _MAX_DIMS:
        raise ValueError(f'an array has {len(shape)} bytes of dimensions')
    word = struct.unpack_from(order + 'I', flags)[0]
    dims = np.frombuffer(shape, order + 'i4').tolist()
    if min(dims) < 0:
        raise ValueError(f'an array has dimensions {dims}')
    return word & 0xFF, bool(word & _COMPLEX_FLAG), dims


def _number_of_fields(fields: Sequence[tuple[int, memoryview]], order: str) -> int:
    """Number of fields of a struct, from the length of a name and all names."""
    if [kind for kind, _ in fields] != [_INT32, _INT8] or len(fields[0][1]) != 4:
        raise ValueError('a struct has no names of fields')
    length = struct.unpack_from(order + 'i', fields[0][1])[0]
    if length < 1 or len(fields[1][1]) % length:
        raise ValueError(f'names of fields have {length} of {len(fields[1][1])} characters')
    return len(fields[1][1]) // length


def _check_values(kinds: Sequence[int], array_class: int, is_complex: bool) -> None:
    """Data types of the values of a dense array, one element or real and imaginary part."""
    allowed = _CHAR_TYPES if array_class == _CHAR else _NUMBER_TYPES
    if wrong := [kind for kind in kinds if kind not in allowed]:
        raise ValueError(f'an array of class {array_class} holds data of type {wrong[0]}')
    if len(kinds) != 1 + (is_complex and array_class != _CHAR):
        raise ValueError(f'an array of class {array_class} has {len(kinds)} parts')
