"""Coordinates, and what a plane says at a coordinate.

x, y and z are in [-1, 1]: x to the right, y down, z away from the camera. A coordinate ``c``
addresses cell ``((c + 1) n - 1) / 2`` of an axis of ``n`` cells, so the edges of the outermost
cells are at -1 and 1 (``align_corners=False``).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdense.utils import ShapeError, suggest

#: Plane to the coordinates that its columns and its rows follow. x is always a column and y
#: a row, but in ``zx``, the slip of the released triplane GAN, whose third plane never sees y.
PLANE_AXES = {'xy': ('x', 'y'), 'yz': ('z', 'y'), 'xz': ('x', 'z'), 'zx': ('z', 'x')}
PADDINGS = ('border', 'zeros')
AGGREGATIONS = ('sum', 'mean')
_AXIS = {'x': 0, 'y': 1, 'z': 2}


def pixel_centers(
    n: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Tensor:
    """Centres of ``n`` equal cells of [-1, 1], ``(n,)``: ``(2 j + 1) / n - 1``.

    Example:
        >>> pixel_centers(2)
        tensor([-0.5000,  0.5000])
    """
    return (2 * torch.arange(n, dtype=dtype or torch.get_default_dtype(), device=device) + 1) / (
        n
    ) - 1


def plane_names(layout: str) -> tuple[str, ...]:
    """Planes of a layout such as ``'xy_yz_xz'``, in the order of the tensor.

    Raises:
        ValueError: If a plane is unknown.
    """
    names = tuple(layout.split('_'))
    for name in names:
        if name not in PLANE_AXES:
            raise ValueError(f'layout {layout!r} has a plane {name!r}. {suggest(name, PLANE_AXES)}')
    return names


def check_planes(planes: Tensor, layout: str, padding: str, aggregation: str) -> tuple[str, ...]:
    """Names of the planes, after a look at everything that describes them.

    Raises:
        ShapeError: If ``planes`` is not ``(B, P, C, Hp, Wp)`` with one plane per name.
        ValueError: If a word is unknown.
    """
    names = plane_names(layout)
    if planes.ndim != 5 or planes.shape[1] != len(names):
        raise ShapeError(
            f'planes have shape {tuple(planes.shape)}; layout {layout!r} wants '
            f'(B, {len(names)}, C, Hp, Wp).'
        )
    check_choice('padding', padding, PADDINGS)
    check_choice('aggregation', aggregation, AGGREGATIONS)
    return names


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ``ValueError`` unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f'{name} is {value!r}; choose {" or ".join(map(repr, choices))}.')


def sample_triplane(
    planes: Tensor,
    points: Tensor,
    padding: str = 'border',
    layout: str = 'xy_yz_xz',
    aggregation: str = 'sum',
) -> Tensor:
    """Project points on the planes, read each bilinearly and add.

    Args:
        planes (Tensor): ``(B, P, C, Hp, Wp)``.
        points (Tensor): ``(B, N, 3)``, x, y, z.
        padding (str): Outside the outermost cell centres: ``'border'`` repeats them,
            ``'zeros'`` fades to 0.
        layout (str): Which planes, in order (see :data:`PLANE_AXES`).
        aggregation (str): ``'sum'`` or ``'mean'`` over the planes.

    Returns:
        Tensor: ``(B, N, C)``.

    Raises:
        ShapeError, ValueError: See :func:`check_planes`.
    """
    names = check_planes(planes, layout, padding, aggregation)
    points = points.to(planes.dtype)
    total = planes.new_zeros(())
    for index, name in enumerate(names):
        where = torch.stack([points[..., _AXIS[axis]] for axis in PLANE_AXES[name]], dim=-1)
        read = F.grid_sample(
            planes[:, index], where[:, :, None], padding_mode=padding, align_corners=False
        )
        total = total + read[..., 0].transpose(1, 2)
    return total / len(names) if aggregation == 'mean' else total


def cell_positions(coords: Tensor, n: int, padding: str) -> Tensor:
    """Fractional cell of each coordinate on an axis of ``n`` cells."""
    positions = ((coords + 1) * n - 1) / 2
    return positions.clamp(0, n - 1) if padding == 'border' else positions


def interpolation_matrix(coords: Tensor, n: int, padding: str) -> Tensor:
    """Linear interpolation as a matrix: ``(..., m)`` coordinates to ``(..., m, n)`` weights."""
    positions = cell_positions(coords, n, padding)
    cells = torch.arange(n, dtype=coords.dtype, device=coords.device)
    return (1 - (positions[..., None] - cells).abs()).clamp(min=0)


def interpolation_corners(coords: Tensor, n: int, padding: str) -> tuple[Tensor, Tensor]:
    """Linear interpolation as two cells and two weights, ``(..., 2)`` int64 and float each."""
    positions = cell_positions(coords, n, padding)
    first = positions.floor()
    upper = positions - first
    cells = torch.stack([first, first + 1], dim=-1).long()
    weights = torch.stack([1 - upper, upper], dim=-1)
    inside = (cells >= 0) & (cells < n)
    return cells.clamp(0, n - 1), weights * inside
