"""Axis conventions of normals, points, poses and intrinsics, and the way from one to another.

A convention names where the x, y and z of camera coordinates point: ``right``, ``left``,
``up`` and ``down`` as seen in the picture, ``front`` into the scene, ``back`` towards the
viewer. One more thing is not in the axes: whether stored normals face the camera, as nearly
all do, or point into the surface, as DSINE's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from torch import Tensor

from mmdense.utils import ShapeError, suggest

Array = np.ndarray
ArrayOrTensor = TypeVar('ArrayOrTensor', Array, Tensor)

#: Axes that every array of normals has after reading.
LIBRARY_AXES = 'x-right y-up z-back'

# Direction to its component and sign in library coordinates.
_DIRECTIONS = dict(
    right=(0, 1), left=(0, -1), up=(1, 1), down=(1, -1), back=(2, 1), front=(2, -1)
)  # fmt: skip
_OPPOSITE = dict(right='left', left='right', up='down', down='up', back='front', front='back')


@dataclass(frozen=True)
class AxisConvention:
    """Where the camera axes of another project point.

    Args:
        axes (str): ``'x-<direction> y-<direction> z-<direction>'``.
        source (str): Who states it.
        outward (bool): Whether normals point into the surface, away from the camera.
        pixel_centre (float | None): Coordinate of the centre of the first pixel; None where
            intrinsics are not in pixels from the top left corner.
    """

    axes: str
    source: str
    outward: bool = False
    pixel_centre: float | None = None

    @property
    def right_handed(self) -> bool:
        """Whether points can be given in these axes without mirroring the scene."""
        return float(np.linalg.det(axis_matrix(self.axes))) > 0

    @property
    def normal_axes(self) -> str:
        """The axes in which stored normals look like normals that face the camera.

        What the data sets take as ``normal_axes``.
        """
        if not self.outward:
            return self.axes
        parts = (part.partition('-') for part in self.axes.split())
        return ' '.join(f'{name}-{_OPPOSITE[direction]}' for name, _, direction in parts)


#: Name to convention. ``library`` is what mmdense uses throughout.
CONVENTIONS = {
    'library': AxisConvention(LIBRARY_AXES, 'docs/conventions.md', pixel_centre=0.5),
    'opengl': AxisConvention(
        'x-right y-up z-back', 'eye coordinates of the OpenGL fixed-function pipeline'
    ),
    'blender': AxisConvention('x-right y-up z-back', 'cameras of Blender look along their -z'),
    'nerfstudio': AxisConvention('x-right y-up z-back', 'nerfstudio, page "Data conventions"'),
    'opencv': AxisConvention(
        'x-right y-down z-front', 'OpenCV, calib3d: the pinhole model', pixel_centre=0.0
    ),
    'colmap': AxisConvention(
        'x-right y-down z-front', 'COLMAP, page "Output Format"', pixel_centre=0.5
    ),
    'pytorch3d': AxisConvention('x-left y-up z-front', 'PyTorch3D, page "Cameras"'),
    'dsine': AxisConvention(
        'x-right y-down z-front',
        'the authors of DSINE: right, down, front, and outward: a wall that faces the camera is '
        '(0, 0, 1)',
        outward=True,
    ),
    '2d3ds': AxisConvention(
        'x-right y-down z-back',
        'Armeni et al., "Joint 2D-3D-Semantic Data" (2017): red to the right, green downwards, '
        'blue towards the camera',
    ),
    'taskonomy': AxisConvention('x-right y-down z-back', 'its authors: as 2D-3D-S'),
    'omnidata': AxisConvention('x-right y-down z-back', 'its authors: as 2D-3D-S'),
}


def get_convention(name: str) -> AxisConvention:
    """A convention by its name, or made from axes such as ``'x-right y-down z-front'``.

    Raises:
        ValueError: If it is neither.
    """
    if name in CONVENTIONS:
        return CONVENTIONS[name]
    if ' ' in name:
        axis_matrix(name)
        return AxisConvention(name, 'given by its axes')
    raise ValueError(f'{name!r} is no axis convention. {suggest(name, CONVENTIONS)}')


def axis_matrix(axes: str) -> Array:
    """Matrix ``(3, 3)`` that turns library coordinates into ``axes``.

    Args:
        axes (str): ``'x-<direction> y-<direction> z-<direction>'``, each pair of opposite
            directions named once: right or left, up or down, back (towards the camera) or
            front (into the scene).

    Raises:
        ValueError: If ``axes`` has another form.

    Example:
        >>> axis_matrix('x-front y-left z-up').astype(int).tolist()
        [[0, 0, -1], [-1, 0, 0], [0, 1, 0]]
    """
    match = re.fullmatch(r'x-(\w+) y-(\w+) z-(\w+)', axes)
    names = match.groups() if match else ()
    if any(name not in _DIRECTIONS for name in names) or (
        len({_DIRECTIONS[name][0] for name in names}) != 3
    ):
        raise ValueError(
            f"axes are {axes!r}; expected 'x-<right|left> y-<up|down> z-<back|front>' or the same "
            f"directions in another order, for example '{LIBRARY_AXES}'."
        )
    matrix = np.zeros((3, 3))
    for row, name in enumerate(names):
        column, sign = _DIRECTIONS[name]
        matrix[row, column] = sign
    return matrix


def axis_signs(axes: str) -> Array:
    """Signs ``(3,)`` that turn normals stored in ``axes`` into those of the library.

    Args:
        axes (str): ``'x-<right|left> y-<up|down> z-<back|front>'``; back is towards the
            camera, front into the scene. Or the name of one of :data:`CONVENTIONS`.

    Raises:
        ValueError: If ``axes`` has another form.

    Example:
        >>> axis_signs('x-right y-down z-front').tolist()
        [1.0, -1.0, -1.0]
        >>> axis_signs('dsine').tolist()
        [-1.0, 1.0, 1.0]
    """
    stored = CONVENTIONS[axes].normal_axes if axes in CONVENTIONS else axes
    if re.fullmatch(r'x-(right|left) y-(up|down) z-(back|front)', stored) is None:
        raise ValueError(
            f"normal_axes is {axes!r}; expected 'x-<right|left> y-<up|down> z-<back|front>', for "
            f"example '{LIBRARY_AXES}', or one of {', '.join(CONVENTIONS)}."
        )
    return axis_matrix(stored).diagonal().astype(np.float32)


def convert_normals(
    normals: ArrayOrTensor, source: str = 'library', target: str = 'library', axis: int = -1
) -> ArrayOrTensor:
    """Normals of one convention in another.

    Exact: components change places and signs, nothing is rounded; zero vectors (unknown)
    stay zero.

    Args:
        normals (Array | Tensor): Floats, with 3 components along ``axis``.
        source (str): Convention they are in: a name of :data:`CONVENTIONS`, or axes.
        target (str): Convention to return.
        axis (int): Where the components are: -1 for ``(H, W, 3)``, 1 for ``(B, 3, H, W)``.

    Raises:
        ShapeError: If ``axis`` has not 3 entries.
        ValueError: If a convention is unknown, or ``normals`` are no floats.

    Example:
        >>> convert_normals(np.array([0.0, 1.0, 0.0]), 'library', 'opencv').tolist()
        [0.0, -1.0, -0.0]
    """
    old, new = get_convention(source), get_convention(target)
    matrix = axis_matrix(new.axes) @ axis_matrix(old.axes).T
    if old.outward != new.outward:
        matrix = -matrix
    return _apply(normals, matrix, axis, 'convert_normals')


def convert_points(
    points: ArrayOrTensor, source: str = 'library', target: str = 'library', axis: int = -1
) -> ArrayOrTensor:
    """Camera points of one convention in another; as :func:`convert_normals`.

    Raises:
        ShapeError: If ``axis`` has not 3 entries.
        ValueError: If a convention is unknown, ``points`` are no floats, or a convention is
            left-handed: it describes the colours of normals, not a camera.
    """
    matrix = _camera_matrix(source, target, 'convert_points')
    return _apply(points, matrix, axis, 'convert_points')


def convert_poses(poses: Array, source: str = 'library', target: str = 'library') -> Array:
    """Camera-to-world poses for camera axes of another convention.

    The world stays as it is, and so does the position of the camera; only the columns of the
    rotation change. World-to-camera matrices (COLMAP stores those) are inverted first.

    Args:
        poses (Array): ``(..., 4, 4)`` or ``(..., 3, 4)``, from camera to world coordinates.
        source (str): Convention of the camera axes.
        target (str): Convention to return.

    Raises:
        ShapeError: If ``poses`` have another shape.
        ValueError: As :func:`convert_points`.
    """
    if poses.shape[-2:] not in ((4, 4), (3, 4)):
        raise ShapeError(f'convert_poses: poses are {poses.shape}, expected (..., 4, 4).')
    matrix = _camera_matrix(source, target, 'convert_poses')
    converted = poses.copy()
    converted[..., :3, :3] = poses[..., :3, :3] @ matrix.T.astype(poses.dtype)
    return converted


def convert_intrinsics(
    intrinsics: Array, source: str = 'library', target: str = 'library'
) -> Array:
    """Intrinsics for another place of pixel centres: the principal point moves by their offset.

    Args:
        intrinsics (Array): ``(..., 3, 3)`` float, pixels; focal lengths positive.
        source (str): Convention; the library counts the centre of the first pixel as 0.5.
        target (str): Convention to return; OpenCV counts it as 0.

    Raises:
        ShapeError: If ``intrinsics`` have another shape.
        ValueError: If a convention does not count pixels from the top left corner.
    """
    if intrinsics.shape[-2:] != (3, 3):
        raise ShapeError(f'convert_intrinsics: they are {intrinsics.shape}, expected (..., 3, 3).')
    centres = []
    for name in (source, target):
        centre = get_convention(name).pixel_centre
        if centre is None:
            known = [key for key, value in CONVENTIONS.items() if value.pixel_centre is not None]
            raise ValueError(
                f'convert_intrinsics: {name!r} does not say where pixel centres are. Known: '
                f'{", ".join(known)}.'
            )
        centres.append(centre)
    moved = intrinsics.astype(np.result_type(intrinsics, np.float32))
    moved[..., :2, 2] += centres[1] - centres[0]
    return moved


def _camera_matrix(source: str, target: str, caller: str) -> Array:
    for name in (source, target):
        if not get_convention(name).right_handed:
            raise ValueError(
                f'{caller}: the axes of {name!r} ({get_convention(name).axes}) are left-handed. '
                'They say how normals are coloured; no camera has them. Name the convention of '
                'the camera, for example opencv.'
            )
    return axis_matrix(get_convention(target).axes) @ axis_matrix(get_convention(source).axes).T


def _apply(values: ArrayOrTensor, matrix: Array, axis: int, caller: str) -> ArrayOrTensor:
    """A signed permutation of the components along ``axis``."""
    if values.shape[axis] != 3:
        raise ShapeError(
            f'{caller}: {tuple(values.shape)} has {values.shape[axis]} entries along axis {axis}, '
            'expected the 3 components. Set axis=1 for (B, 3, H, W).'
        )
    floating = (
        values.is_floating_point() if isinstance(values, Tensor) else values.dtype.kind == 'f'
    )
    if not floating:
        raise ValueError(
            f'{caller}: values are {values.dtype}, expected floats. Decode 8-bit pictures first, '
            'for example with mmdense.datasets.reading.decode_normals.'
        )
    order = np.abs(matrix).argmax(axis=1).tolist()
    signs = matrix.sum(axis=1).tolist()
    last = values.swapaxes(axis, -1)
    moved = last[..., order]
    factor = moved.new_tensor(signs) if isinstance(moved, Tensor) else np.asarray(signs, last.dtype)
    return (moved * factor).swapaxes(axis, -1)
