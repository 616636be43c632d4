"""Counters of one picture, kept on disk so that an interrupted evaluation goes on."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmdense.utils import thinning
from mmdense.utils.files import atomic_write_bytes
from mmdense.version import __version__

from .counts import COLUMNS, BoundaryProtocol, count_matches, true_boundaries

Array = np.ndarray

_DIGEST_BYTES = hashlib.sha256().digest_size


class Counted(NamedTuple):
    """Counters ``(K, 4)`` and, where the cache gave trouble, what it was."""

    counts: Array
    trouble: str | None = None


def count_picture(
    levels: Array,
    labels: Array,
    known: Array | None,
    protocol: BoundaryProtocol,
    cache_dir: str | None = None,
) -> Counted:
    """Count one picture, or read its counters if this very picture was counted before.

    A file is found by a hash of prediction, truth, protocol and the code that counts. It is
    written in one step; a damaged one, or a disk that cannot be written, costs a remark in
    the result and the work, not the evaluation.

    Args:
        levels (Array): ``(H, W)`` uint8, probability times 255, truncated.
        labels (Array): ``(H, W)`` integers whose borders are the true boundaries.
        known (Array | None): ``(H, W)`` bool; predictions elsewhere are left out.
        protocol (BoundaryProtocol): Tolerance, suppression and thresholds.
        cache_dir (str | None): Folder of the files; made if needed. None: no files.
    """
    if cache_dir is None:
        return Counted(_count(levels, labels, known, protocol))
    path = Path(cache_dir) / f'{_key(levels, labels, known, protocol)}.counts'
    trouble = None
    try:
        return Counted(_decode(path.read_bytes(), len(protocol.grid)))
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        trouble = f'{path} is counted anew: {error}'
    counts = _count(levels, labels, known, protocol)
    try:
        atomic_write_bytes(path, _encode(counts))
    except OSError as error:
        trouble = f'{path} cannot be written, so nothing is kept: {error}'
    return Counted(counts, trouble)


def _count(levels: Array, labels: Array, known: Array | None, protocol: BoundaryProtocol) -> Array:
    return count_matches(levels, true_boundaries(labels), protocol, known)


@functools.cache
def _code_digest() -> bytes:
    """A hash of the code that counts: other code never reads these files."""
    digest = hashlib.sha256(__version__.encode())
    for source in (*sorted(Path(__file__).parent.glob('*.py')), Path(thinning.__file__)):
        digest.update(source.read_bytes())
    return digest.digest()


def _key(levels: Array, labels: Array, known: Array | None, protocol: BoundaryProtocol) -> str:
    digest = hashlib.sha256(_code_digest())
    digest.update(repr(protocol).encode())
    for array in (levels, labels, known):
        if array is not None:
            digest.update(f'{array.shape} {array.dtype.str}'.encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _encode(counts: Array) -> bytes:
    payload = counts.astype('<i8').tobytes()
    return hashlib.sha256(payload).digest() + payload


def _decode(data: bytes, rows: int) -> Array:
    digest, payload = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if hashlib.sha256(payload).digest() != digest:
        raise ValueError(f'the file of {len(data)} bytes is damaged (checksum differs)')
    return np.frombuffer(payload, '<i8').astype(np.int64).reshape(rows, len(COLUMNS))
