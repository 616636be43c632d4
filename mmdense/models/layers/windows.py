"""Maps cut into windows, shifted, and put together again."""

from __future__ import annotations

import torch
from torch import Tensor


def to_windows(x: Tensor, side: int) -> Tensor:
    """``(B, H, W, C)`` to ``(B, M, side * side, C)``, windows and their tokens row by row.

    Height and width must be multiples of ``side``.
    """
    x = x.unflatten(2, (-1, side)).unflatten(1, (-1, side))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def from_windows(windows: Tensor, size: tuple[int, int], side: int) -> Tensor:
    """The inverse of :func:`to_windows`; ``size`` is the height and width of the map."""
    x = windows.unflatten(1, (size[0] // side, -1)).unflatten(3, (side, side))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def shifted_apart(
    size: tuple[int, int], side: int, shift: tuple[int, int], device: torch.device
) -> Tensor:
    """Which tokens of a window were not neighbours before the map was rolled.

    A map rolled by ``shift`` up and to the left has, in its last windows, rows and columns from
    the other side of the picture.

    Args:
        size (tuple[int, int]): Height and width of the map, multiples of ``side``.
        side (int): Side of a window.
        shift (tuple[int, int]): Rows and columns that the map was rolled by.
        device (torch.device): Where the result is made.

    Returns:
        Tensor: ``(M, side * side, side * side)`` bool.
    """
    # Only the last window of an axis holds rolled rows: whether one is, tells all.
    rolled = [torch.arange(n, device=device) >= n - s for n, s in zip(size, shift)]
    parts = rolled[0].int()[:, None] * 2 + rolled[1].int()
    label = to_windows(parts[None, ..., None], side)[0, ..., 0]
    return label[:, :, None] != label[:, None, :]
