"""Predicted maps as files: numbers as numbers, pictures marked as pictures."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mmdense.conventions import back_project
from mmdense.structures import DenseMap
from mmdense.tasks import BaseTask
from mmdense.utils import DataError, suggest
from mmdense.utils.files import atomic_write_bytes

from .results import Prediction

Array = np.ndarray

#: What can be written, and what each file is.
FORMATS = {
    'npz': '<name>.npz: every map with its valid mask, unit, kind and convention',
    'depth': '<name>_<task>_mm.png: 16-bit millimetres, 0 unknown; metric depth only',
    'labels': '<name>_<task>_labels.png: class indices with a palette; maps of labels only',
    'pictures': '<name>_<task>_picture.png: colours to look at, no data',
    'panel': '<name>_panel_picture.png: the picture and all its maps side by side',
    'ply': '<name>.ply: coloured points; needs metric depth and intrinsics',
}
DEFAULT_FORMATS = ('npz', 'depth', 'labels', 'pictures')
_NOT_DATA = 'Colours to look at, no data: {what}. The numbers are in the .npz file beside it.'


def save_maps(
    prediction: Prediction,
    out_dir: str | Path,
    stem: str,
    tasks: Mapping[str, BaseTask],
    formats: Iterable[str] = DEFAULT_FORMATS,
) -> list[Path]:
    """Write the maps of one picture; each file appears whole or not at all.

    Args:
        prediction (Prediction): With ``maps``; ``image`` colours the points of ``ply``, and
            ``intrinsics`` place them.
        out_dir (str | Path): Folder, made if it is not there.
        stem (str): What the names of the files begin with.
        tasks (Mapping[str, BaseTask]): Choose the colours.
        formats (Iterable[str]): Of :data:`FORMATS`. One that no map fits, such as ``depth`` for a
            model without metric depth, writes nothing.

    Returns:
        list[Path]: The files.

    Raises:
        DataError: If ``ply`` is asked for and the intrinsics are not known.
        ValueError: If a format is unknown.
    """
    maps = prediction.maps or {}
    files: dict[str, Callable[[], bytes]] = {}
    for name in check_formats(formats):
        files.update(_files_of(name, prediction, maps, tasks))
    written = []
    for ending, encode in files.items():
        path = Path(out_dir) / f'{stem}{ending}'
        atomic_write_bytes(path, encode())
        written.append(path)
    return written


def check_formats(formats: Iterable[str]) -> tuple[str, ...]:
    """The formats themselves, if all are known.

    Raises:
        ValueError: If one is not.
    """
    chosen = (formats,) if isinstance(formats, str) else tuple(formats)
    for name in chosen:
        if name not in FORMATS:
            raise ValueError(f'formats: {name!r} cannot be written. {suggest(name, FORMATS)}')
    return chosen


def _files_of(
    name: str, found: Prediction, maps: Mapping[str, DenseMap], tasks: Mapping[str, BaseTask]
) -> dict[str, Callable[[], bytes]]:
    """Ending to content of the files of one format."""
    if name == 'npz':
        return {'.npz': lambda: encode_npz(maps)}
    if name == 'panel':
        panel = found.panel
        what = f'{found.name}: {", ".join(maps)}'
        return {} if panel is None else {'_panel_picture.png': lambda: encode_picture(panel, what)}
    if name == 'ply':
        depth = metric_depth(maps)
        return {} if depth is None else {'.ply': lambda: encode_points(found, depth)}
    files: dict[str, Callable[[], bytes]] = {}
    for key, item in maps.items():
        if name == 'pictures':
            files[f'_{key}_picture.png'] = lambda m=item: encode_picture(  # type: ignore[misc]
                tasks[m.task].colorize(m.value), f'{m.task}, {m.kind} [{m.unit}]'
            )
        elif name == 'depth' and _is_metric(item):
            files[f'_{key}_mm.png'] = lambda m=item: encode_millimetres(m)  # type: ignore[misc]
        elif name == 'labels' and item.kind == 'labels':
            files[f'_{key}_labels.png'] = lambda m=item: encode_labels(m)  # type: ignore[misc]
    return files


def _is_metric(item: DenseMap) -> bool:
    return item.kind == 'depth' and item.unit == 'm'


def metric_depth(maps: Mapping[str, DenseMap]) -> DenseMap | None:
    """The map of depth in metres, if there is one."""
    return next((item for item in maps.values() if _is_metric(item)), None)


def encode_npz(maps: Mapping[str, DenseMap]) -> bytes:
    """A ``.npz`` with ``<task>`` and ``<task>_valid`` for each map, and ``meta``, JSON text.

    Maps of labels keep their integers, all others are float32. It loads without pickles.
    """
    arrays: dict[str, Array] = {}
    for key, item in maps.items():
        exact = item.value.dtype.kind in 'iu'
        arrays[key] = item.value if exact else item.value.astype(np.float32)
        arrays[f'{key}_valid'] = item.valid
    arrays['meta'] = np.array(json.dumps({key: describe_map(item) for key, item in maps.items()}))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def describe_map(item: DenseMap) -> dict[str, object]:
    """What a map means, in JSON's types."""
    meta: dict[str, object] = dict(unit=item.unit, kind=item.kind, convention=item.convention)
    if item.classes is not None:
        meta['classes'] = list(item.classes)
    return meta


def read_npz(path: str | Path) -> dict[str, DenseMap]:
    """The maps of a file of :func:`encode_npz`.

    Raises:
        DataError: If the file was not written by it.
    """
    with np.load(path, allow_pickle=False) as stored:
        if 'meta' not in stored:
            raise DataError(f'{path}: holds {sorted(stored)} but no `meta`; expected saved maps.')
        maps = {}
        for key, meta in json.loads(str(stored['meta'])).items():
            classes = meta.pop('classes', None)
            maps[key] = DenseMap(
                task=key,
                value=stored[key],
                valid=stored[f'{key}_valid'],
                classes=None if classes is None else tuple(classes),
                **meta,
            )
    return maps


def encode_millimetres(depth: DenseMap) -> bytes:
    """A 16-bit PNG of depth in millimetres; 0 where it is unknown or beyond 65.534 m."""
    millimetres = np.rint(depth.value.astype(np.float64) * 1000)
    # 65535 is the mark for unknown of several data sets, so it is no measurement here.
    known = depth.valid & (millimetres > 0) & (millimetres < 65535)
    levels = np.where(known, millimetres, 0).astype(np.uint16)
    _, content = cv2.imencode('.png', levels)
    return bytes(content.tobytes())


def encode_labels(item: DenseMap) -> bytes:
    """A palette PNG: its pixels are class indices, and viewers show the colours."""
    indices = np.where(item.valid, item.value, 255).astype(np.uint8)
    picture = Image.fromarray(indices, mode=None)
    palette = np.zeros((256, 3), np.uint8)
    if item.palette is not None:
        palette[: len(item.palette)] = item.palette
    picture.putpalette(palette.tobytes())
    info = PngInfo()
    info.add_text('Comment', f'class indices of {item.task}; {item.convention}')
    if item.classes is not None:
        info.add_text('Classes', json.dumps(list(item.classes)))
    buffer = io.BytesIO()
    picture.save(buffer, 'PNG', pnginfo=info)
    return buffer.getvalue()


def encode_picture(picture: Array, what: str) -> bytes:
    """A PNG for people; the file itself says that it holds no data."""
    info = PngInfo()
    info.add_text('Comment', _NOT_DATA.format(what=what))
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, 'PNG', pnginfo=info)
    return buffer.getvalue()


def encode_points(found: Prediction, depth: DenseMap) -> bytes:
    """A binary ``.ply`` of every pixel with known depth, in camera axes, metres.

    Points have the colours of the picture, and normals where a map of directions was predicted.

    Raises:
        DataError: If the intrinsics of the picture are not known.
    """
    if found.intrinsics is None:
        raise DataError(
            f"{found.name}: a point cloud needs the camera's intrinsics, which are not known. Give "
            'intrinsics=(fx, fy, cx, cy) in pixels of the picture, or leave `ply` out.'
        )
    known = depth.valid
    columns = {'xyz': back_project(depth.value, found.intrinsics)[known].astype('<f4')}
    fields = ['property float x', 'property float y', 'property float z']
    directions = next((m for m in (found.maps or {}).values() if m.kind == 'direction'), None)
    if directions is not None:
        columns['normal'] = directions.value[known].astype('<f4')
        fields += ['property float nx', 'property float ny', 'property float nz']
    if found.image is not None:
        columns['rgb'] = found.image[known]
        fields += ['property uchar red', 'property uchar green', 'property uchar blue']
    rows = np.empty(
        int(known.sum()), dtype=[(name, part.dtype, (3,)) for name, part in columns.items()]
    )
    for name, part in columns.items():
        rows[name] = part
    header = [
        'ply',
        'format binary_little_endian 1.0',
        'comment metres; x right, y up, z towards the camera',
        f'element vertex {len(rows)}',
        *fields,
        'end_header',
    ]
    return ('\n'.join(header) + '\n').encode() + rows.tobytes()
