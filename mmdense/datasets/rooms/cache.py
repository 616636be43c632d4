"""Rendered rooms on disk, safe under any number of workers and processes.

One file per picture. It is written beside its place and moved there in one step, so a
reader sees a whole file or none; a checksum finds damaged ones, which are rendered anew.
Maps are run-length encoded without loss: what is read equals what was rendered bit for bit.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import uuid
import zlib
from logging import WARNING
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from mmdense.version import __version__

from .annotations import find_boundaries
from .render import RoomSample, render_room

Array = np.ndarray

_MAGIC = b'mmdroom1'
#: Integer maps that change together, at the borders of instances.
_BYTE_MAPS = ('semseg', 'saliency', 'part')
_LABELS = np.dtype([*((name, 'u1') for name in _BYTE_MAPS), ('instances', '<u2')])


@functools.cache
def renderer_digest() -> str:
    """A hash of the renderer's source, part of every file name: no stale picture is ever read."""
    digest = hashlib.sha256(__version__.encode())
    for source in sorted(Path(__file__).parent.glob('*.py')):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


class RoomCache:
    """A folder of rendered rooms.

    A file that cannot be written (full disk, no permission) costs one warning; rendering
    goes on without it.

    Args:
        folder (str): Where the files lie; made if needed.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._warned = False

    def path(self, seed: int, split: str, index: int, size: tuple[int, int], view: int) -> Path:
        """The file of one picture."""
        family = f'{size[0]}x{size[1]}-seed{seed}-{renderer_digest()}'
        return self.folder / family / f'{split}-{index // 1000:04d}' / f'{index:07d}-{view}.room'

    def get(
        self, seed: int, split: str, index: int, size: tuple[int, int], view: int = 0
    ) -> RoomSample:
        """:func:`~.render.render_room`, from disk where possible."""
        path = self.path(seed, split, index, size, view)
        key = [renderer_digest(), seed, split, index, *size, view]
        try:
            return decode(path.read_bytes(), key)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            print_log(f'RoomCache: {path} is rendered anew: {error}', 'current', WARNING)
        sample = render_room(seed, split, index, size, view)
        try:
            _write(path, encode(sample, key))
        except OSError as error:
            if not self._warned:
                self._warned = True
                print_log(
                    f'RoomCache: {path} cannot be written ({error}); rooms are rendered each '
                    'time they are read. Point `cache_dir` at a disk with space, or set it to '
                    'None.',
                    'current',
                    WARNING,
                )
        return sample


def encode(sample: RoomSample, key: list) -> bytes:
    """A sample as bytes: magic, checksum of the rest, a JSON line, and raw arrays."""
    gt = sample.gt
    labels = np.empty(sample.instances.size, _LABELS)
    for name in _BYTE_MAPS:
        labels[name] = gt[name].ravel()
    labels['instances'] = sample.instances.ravel()
    arrays = {
        'image': sample.image,
        'depth': sample.depth,
        'holes': np.packbits(gt['depth'] != sample.depth),
        'intrinsics': sample.intrinsics,
        'pose': sample.pose,
        'albedo': sample.albedo,
    }
    for name, values in (
        ('labels', labels.view(np.uint8).reshape(labels.size, -1)),
        # Compared as bit patterns: as numbers, -0.0 would equal 0.0 and be lost.
        ('normal', np.ascontiguousarray(gt['normal']).view(np.uint32).reshape(labels.size, 3)),
    ):
        starts = np.ones(labels.size, bool)
        starts[1:] = (values[1:] != values[:-1]).any(axis=1)
        arrays[f'{name}_starts'] = np.packbits(starts)
        arrays[name] = values[starts]
    table = {name: (a.dtype.str, a.shape) for name, a in arrays.items()}
    body = json.dumps({'key': key, 'arrays': table}).encode() + b'\n'
    body += b''.join(np.ascontiguousarray(a).tobytes() for a in arrays.values())
    return _MAGIC + zlib.crc32(body).to_bytes(4, 'little') + body


def decode(data: bytes, key: list) -> RoomSample:
    """The inverse of :func:`encode`.

    Args:
        data (bytes): Content of a file.
        key (list): What the file must be about.

    Returns:
        RoomSample: With arrays of its own, free to be changed.

    Raises:
        ValueError: If the bytes are damaged, cut short, or about another picture.
    """
    body = memoryview(data)[12:]
    if data[:8] != _MAGIC or zlib.crc32(body) != int.from_bytes(data[8:12], 'little'):
        raise ValueError(f'checksum mismatch in a file of {len(data)} bytes')
    end = data.index(b'\n', 12)
    header = json.loads(data[12:end])
    if header['key'] != key:
        raise ValueError(f'it holds {header["key"]}, expected {key}')
    arrays, at = {}, end + 1
    for name, (dtype, shape) in header['arrays'].items():
        count = math.prod(shape)
        arrays[name] = np.frombuffer(data, np.dtype(dtype), count, at).reshape(shape)
        at += arrays[name].nbytes
    return _rebuild(arrays)


def _rebuild(arrays: dict[str, Array]) -> RoomSample:
    image, depth = arrays['image'].copy(), arrays['depth'].copy()
    size = depth.shape
    holes = np.unpackbits(arrays['holes'], count=depth.size).view(bool).reshape(size)
    labels = arrays['labels'].reshape(-1).view(_LABELS)
    run = _runs(arrays['labels_starts'], depth.size)
    maps = {name: labels[name].take(run).reshape(size) for name in _LABELS.fields or ()}
    normal = arrays['normal'].view(np.float32)
    normal = normal.take(_runs(arrays['normal_starts'], depth.size), axis=0).reshape(*size, 3)
    instances = maps.pop('instances')
    gt = {
        'semseg': maps['semseg'],
        'depth': np.where(holes, np.float32(0), depth),
        'normal': normal,
        'boundary': find_boundaries(instances),
        'saliency': maps['saliency'],
        'part': maps['part'],
    }
    intrinsics, pose, albedo = (arrays[k].copy() for k in ('intrinsics', 'pose', 'albedo'))
    return RoomSample(image, gt, depth, instances, intrinsics, pose, albedo)


def _runs(starts: Array, count: int) -> Array:
    """Index of the run that each pixel belongs to."""
    return np.cumsum(np.unpackbits(starts, count=count), dtype=np.intp) - 1


def _write(path: Path, data: bytes) -> None:
    """Put a file in place in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.{uuid.uuid4().hex}.tmp')
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
