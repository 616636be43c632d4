"""Pictures from wherever people have them: files, folders, patterns, bytes, arrays, videos."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from mmdense.datasets.formats import decode_npy, decode_picture
from mmdense.datasets.reading import read_bytes
from mmdense.utils import DataError

Array = np.ndarray

PICTURE_ENDINGS = (
    '.bmp',
    '.jpeg',
    '.jpg',
    '.npy',
    '.png',
    '.ppm',
    '.pgm',
    '.tif',
    '.tiff',
    '.webp',
)
VIDEO_ENDINGS = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm')

_EXIF_DIRECTORY, _FOCAL_LENGTH_ON_FILM = 0x8769, 0xA405
_FILM_DIAGONAL = 43.27  # mm, of 36 x 24


@dataclass(frozen=True)
class Source:
    """One picture that has not been read yet.

    Attributes:
        name (str): What it is called in messages.
        stem (str): What the files of its maps are called.
        read (Callable): Gives the picture, uint8 ``(H, W, 3)``, RGB.
        intrinsics (Array | None): Camera matrix ``(3, 3)`` in pixels of the picture.
        file (str | None): Where it lies, if it is a picture of its own.
    """

    name: str
    stem: str
    read: Callable[[], Array]
    intrinsics: Array | None = None
    file: str | None = None


def expand_inputs(inputs: Any) -> Iterator[Source]:
    """Every picture that ``inputs`` stands for, in order; none is read yet.

    - a string or path: a picture, a ``.npy`` array, a video (every frame), a folder (its pictures
      and arrays in the order of their names) or a pattern with ``*``, ``?``, ``[`` (``**`` goes
      down into folders);
    - bytes: a picture as a file holds it;
    - an array, see :func:`to_rgb`; ``(N, H, W, 3)`` is N pictures; a tensor is ``(3, H, W)`` or
      ``(N, 3, H, W)``; a PIL picture;
    - a mapping ``dict(img=one of these, intrinsics=..., name=...)``; the latter two may be left
      out;
    - anything that can be iterated over, of these.

    Args:
        inputs (Any): As above.

    Raises:
        DataError: If a path does not exist, a folder or pattern holds no picture, or something is
            none of these.
    """
    counter = iter(range(1 << 62))
    for found in _expand(inputs):
        index = next(counter)
        yield found if found.stem else _numbered(found, index)


def count_inputs(inputs: Any) -> int | None:
    """How many pictures :func:`expand_inputs` will give; None where only reading can tell."""
    if isinstance(inputs, str | Path):
        if str(inputs).lower().endswith(VIDEO_ENDINGS):
            frames = _open_video(str(inputs)).get(cv2.CAP_PROP_FRAME_COUNT)
            return int(frames) if frames > 0 else None
        files = _files_of(str(inputs))
        if any(file.lower().endswith(VIDEO_ENDINGS) for file in files):
            return None
        return len(files)
    if isinstance(inputs, np.ndarray | torch.Tensor):
        return len(inputs) if inputs.ndim == 4 else 1
    if isinstance(inputs, bytes | bytearray | memoryview | Mapping) or _is_pil(inputs):
        return 1
    if isinstance(inputs, Sequence):
        counts = [_count_one(item) for item in inputs]
        return None if None in counts else sum(n for n in counts if n is not None)
    return None


def _count_one(item: Any) -> int | None:
    try:
        return count_inputs(item)
    except DataError:
        return 1  # one of many, which is refused in its turn


def _expand(inputs: Any) -> Iterator[Source]:
    if isinstance(inputs, str | Path):
        for file in _files_of(str(inputs)):
            if file.lower().endswith(VIDEO_ENDINGS):
                yield from video_frames(file)
            else:
                yield Source(file, Path(file).stem, partial(read_picture, file), file=file)
    elif isinstance(inputs, bytes | bytearray | memoryview):
        yield Source('bytes', '', partial(decode, 'bytes', bytes(inputs)))
    elif isinstance(inputs, torch.Tensor):
        yield from _expand_tensor(inputs)
    elif isinstance(inputs, np.ndarray):
        for array in inputs if inputs.ndim == 4 else [inputs]:
            yield Source('array', '', partial(to_rgb, array, 'array'))
    elif isinstance(inputs, Mapping):
        yield from _expand_mapping(inputs)
    elif _is_pil(inputs):
        yield Source('picture', '', partial(_from_pil, inputs))
    elif isinstance(inputs, Iterable):
        for item in inputs:
            try:
                yield from _expand(item)
            except DataError as error:
                # One of many: it is refused where it would have been read, like a broken file.
                yield Source(str(item) if isinstance(item, str | Path) else '', 'x', _raiser(error))
    else:
        raise DataError(
            f'inputs: a {type(inputs).__name__} is no picture. Give a file, folder, pattern, '
            'bytes, an array (H, W, 3), a video, or a list of these.'
        )


def _raiser(error: DataError) -> Callable[[], Array]:
    def read() -> Array:
        raise error

    return read


def _numbered(source: Source, index: int) -> Source:
    """A picture without a file name is called by its place in the inputs."""
    name = f'{source.name} {index}'
    return Source(name, f'{index:06d}', source.read, source.intrinsics)


def _files_of(path: str) -> list[str]:
    if '://' in path:
        raise DataError(
            f'{path}: addresses are not fetched. Download the picture and name the file.'
        )
    if os.path.isdir(path):
        files = sorted(os.path.join(path, name) for name in os.listdir(path))
        files = [f for f in files if f.lower().endswith(PICTURE_ENDINGS + VIDEO_ENDINGS)]
        if not files:
            raise DataError(
                f'{path}: the folder holds no picture ({", ".join(PICTURE_ENDINGS)}). Pictures in '
                f"folders below it are found by the pattern '{path}/**/*.png'."
            )
        return [file for file in files if os.path.isfile(file)]
    if os.path.exists(path):
        return [path]
    if glob.has_magic(path):
        files = sorted(f for f in glob.glob(path, recursive=True) if os.path.isfile(f))
        if not files:
            raise DataError(
                f'{path}: the pattern fits no file. It was looked for from {os.getcwd()}.'
            )
        return files
    raise DataError(f'{path}: no such file or folder. It was looked for from {os.getcwd()}.')


def _expand_mapping(item: Mapping[str, Any]) -> Iterator[Source]:
    unknown = set(item) - {'img', 'intrinsics', 'name'}
    if 'img' not in item or unknown:
        raise DataError(
            f'inputs: a mapping has the keys {sorted(item)}; expected img, and perhaps intrinsics '
            'and name.'
        )
    intrinsics = item.get('intrinsics')
    matrix = None if intrinsics is None else camera_matrix(intrinsics)
    for found in _expand(item['img']):
        name, stem = found.name, found.stem
        if 'name' in item:
            name = str(item['name'])
            stem = Path(name).stem
        yield Source(name, stem, found.read, matrix, found.file)


def _expand_tensor(tensor: torch.Tensor) -> Iterator[Source]:
    if tensor.ndim not in (3, 4) or tensor.shape[-3] not in (1, 3, 4):
        raise DataError(f'inputs: a tensor is {tuple(tensor.shape)}, expected (3, H, W), RGB.')
    for item in tensor if tensor.ndim == 4 else [tensor]:
        array = item.detach().cpu().permute(1, 2, 0).numpy()
        yield Source('tensor', '', partial(to_rgb, array, 'tensor'))


def camera_matrix(intrinsics: Any) -> Array:
    """A camera matrix ``(3, 3)`` from one, or from ``(fx, fy, cx, cy)`` in pixels.

    The centre of pixel i is at i + 0.5.

    Raises:
        DataError: If it is neither, or a focal length is not positive.
    """
    given = np.asarray(intrinsics, dtype=np.float64)
    if given.shape == (4,):
        fx, fy, cx, cy = given
        given = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    if given.shape != (3, 3) or not (given[0, 0] > 0 and given[1, 1] > 0):
        raise DataError(
            f'intrinsics are {np.asarray(intrinsics).tolist()}; expected (fx, fy, cx, cy) or a '
            '3x3 camera matrix in pixels, with positive focal lengths.'
        )
    return given


def intrinsics_of_file(path: str, size: tuple[int, int]) -> Array | None:
    """The camera matrix that a photograph itself tells, about; None if it does not.

    Cameras write the focal length that would show the same on 35 mm film, whose diagonal is 43.27
    mm. The centre of projection is taken to be the middle of the picture, and distortion to be
    none.

    Args:
        path (str): The file.
        size (tuple[int, int]): Height and width of the upright picture.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            film = picture.getexif().get_ifd(_EXIF_DIRECTORY).get(_FOCAL_LENGTH_ON_FILM, 0)
    except (UnidentifiedImageError, OSError, SyntaxError):
        return None  # OpenCV reads formats that this library does not, and those say nothing
    if not film or film <= 0:
        return None
    focal = float(film) / _FILM_DIAGONAL * float(np.hypot(*size))
    return camera_matrix((focal, focal, size[1] / 2, size[0] / 2))


# -- reading ------------------------------------------------------------------


def read_picture(path: str) -> Array:
    """A picture file as people see it, uint8 ``(H, W, 3)``, RGB.

    The orientation that a camera wrote into the file is applied, grey is repeated, CMYK is
    converted, 16 bits become 8, alpha is dropped.

    Raises:
        DataError: If it is missing, empty, truncated or no picture.
    """
    return decode(path, read_bytes(path))


def decode(name: str, content: bytes) -> Array:
    """:func:`read_picture` of the content of a file.

    Raises:
        DataError: If it is empty, truncated or no picture.
    """
    if not content:
        raise DataError(f'{name}: is empty (0 bytes); expected a picture.')
    if content.startswith(b'\x93NUMPY'):
        return to_rgb(decode_npy(name, content), name)
    # Data sets ignore the orientation, since labels lie in that of the sensor. Here nobody has
    # labels, and a network that was trained on upright rooms expects an upright picture.
    picture = decode_picture(name, content, cv2.IMREAD_COLOR)
    rgb: Array = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return rgb


def to_rgb(array: Array, name: str) -> Array:
    """An array to a picture, uint8 ``(H, W, 3)``.

    Args:
        array (Array): ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` in RGB order, or ``(H, W, 4)``, of
            which alpha is dropped. uint8; uint16, all of whose range counts; floats in [0, 1].
        name (str): For messages.

    Raises:
        DataError: If shape or values are of none of these.
    """
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        raise DataError(
            f'{name}: the array is {array.dtype} {array.shape}; expected a picture (H, W, 3), RGB, '
            'that is not empty. Transpose arrays (3, H, W).'
        )
    levels = _to_levels(array[..., :3], name)
    return np.repeat(levels, 3, axis=2) if levels.shape[2] == 1 else np.ascontiguousarray(levels)


def _to_levels(array: Array, name: str) -> Array:
    """Values of a picture to 0..255."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        # As OpenCV does for files, so that a picture is the same however it comes.
        return (array >> 8).astype(np.uint8)
    if array.dtype.kind == 'f':
        # Written as a positive test so that NaN fails it.
        if ((array >= 0) & (array <= 1)).all():
            return np.rint(array.astype(np.float32) * 255).astype(np.uint8)
        expected = 'floats of a picture lie in [0, 1]; divide by 255'
    elif array.dtype.kind in 'iu' and array.min() >= 0 and array.max() <= 255:
        return array.astype(np.uint8)
    else:
        expected = 'expected uint8, uint16 or floats in [0, 1]'
    raise DataError(
        f'{name}: the array is {array.dtype} with values from {array.min()} to {array.max()}; '
        f'{expected}.'
    )


def _is_pil(item: Any) -> bool:
    return type(item).__module__.startswith('PIL.')


def _from_pil(picture: Any) -> Array:
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(picture)
    if not min(upright.size):
        raise DataError(f'picture: is {upright.size}; expected one that is not empty.')
    return to_rgb(np.asarray(upright.convert('RGB')), 'picture')


# -- video --------------------------------------------------------------------


def _open_video(path: str) -> Any:
    if not os.path.isfile(path):
        raise DataError(f'{path}: no such file. It was looked for from {os.getcwd()}.')
    capture = cv2.VideoCapture(path)
    if not capture.isOpened():
        raise DataError(
            f'{path}: is no video that OpenCV can open here ({os.path.getsize(path)} bytes). '
            'Convert it to .mp4 or .avi, or hand in its frames as a folder of pictures.'
        )
    return capture


def frames_per_second(path: str) -> float:
    """Frames per second of a video; 25 where the file does not say.

    Raises:
        DataError: If it cannot be opened.
    """
    capture = _open_video(path)
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    capture.release()
    return rate if rate > 0 else 25.0


def video_frames(path: str) -> Iterator[Source]:
    """The frames of a video, one at a time.

    Raises:
        DataError: If it cannot be opened, or its first frame not be read.
    """
    capture = _open_video(path)
    stem, index = Path(path).stem, 0
    try:
        while True:
            done, frame = capture.read()
            if not done:
                break
            rgb = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            yield Source(f'{path} frame {index}', f'{stem}_{index:06d}', partial(_given, rgb))
            index += 1
    finally:
        capture.release()
    if not index:
        raise DataError(f'{path}: not one frame of the video can be read. Copy it again.')


def _given(picture: Array) -> Array:
    return picture
