"""Several looks at one picture, averaged: windows that slide over it, and its mirror image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdense.tasks import BaseTask

Size = tuple[int, int]
#: Left, right, top and bottom, in pixels.
Padding = tuple[int, int, int, int]
#: Inputs ``(B, 3, H, W)`` and the padding of each picture, to predictions by task.
Predict = Callable[[Tensor, Sequence[Padding]], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Looks:
    """How a picture is looked at.

    Args:
        mode (str): ``'whole'`` or ``'slide'``.
        crop_size (tuple[int, int] | None): Height and width of the windows of ``'slide'``.
        stride (tuple[int, int] | None): Steps between windows; at most ``crop_size``, so that no
            pixel is left out. None: two thirds of it.
        flip (bool): Whether the mirror image is looked at too.

    Raises:
        ValueError: If ``mode`` is unknown, or ``'slide'`` has no window or leaves gaps.
    """

    mode: str = 'whole'
    crop_size: Size | None = None
    stride: Size | None = None
    flip: bool = False

    def __post_init__(self) -> None:
        if self.mode not in ('whole', 'slide'):
            raise ValueError(f"test_cfg['mode'] is {self.mode!r}; choose 'whole' or 'slide'.")
        if self.mode == 'whole':
            return
        if self.crop_size is None or len(self.crop_size) != 2 or min(self.crop_size) < 1:
            raise ValueError(
                f"test_cfg['crop_size'] is {self.crop_size}; mode='slide' needs the height and "
                'width of a window, for example (512, 512).'
            )
        steps = self.steps
        if len(steps) != 2 or min(steps) < 1 or any(s > c for s, c in zip(steps, self.crop_size)):
            raise ValueError(
                f"test_cfg['stride'] is {self.stride} for crop_size={tuple(self.crop_size)}; steps "
                'must be at least 1 and at most the window, or pixels are left out.'
            )

    @classmethod
    def of(cls, test_cfg: Mapping[str, Any]) -> Looks:
        """The looks that a ``test_cfg`` asks for."""
        sizes = {
            key: None if test_cfg[key] is None else tuple(int(side) for side in test_cfg[key])
            for key in ('crop_size', 'stride')
        }
        return cls(mode=test_cfg['mode'], flip=bool(test_cfg['flip']), **sizes)  # type: ignore[arg-type]

    @property
    def single(self) -> bool:
        """Whether the picture is looked at once, as a whole."""
        return self.mode == 'whole' and not self.flip

    @property
    def steps(self) -> Size:
        """The stride, or its default."""
        if self.stride is not None:
            return self.stride
        height, width = self.crop_size or (1, 1)
        return max(1, height * 2 // 3), max(1, width * 2 // 3)


def average_looks(
    predict: Predict,
    tasks: Mapping[str, BaseTask],
    inputs: Tensor,
    paddings: Sequence[Padding],
    looks: Looks,
) -> dict[str, Tensor]:
    """Mean over all looks of what each task says may be averaged.

    Every look counts the same at every pixel that it covers; of a picture and its mirror image
    the mean is taken last.

    Args:
        predict (Callable): The model.
        tasks (Mapping[str, BaseTask]): Task key to task; says what is averaged and what a mirror
            does to it.
        inputs (Tensor): ``(B, 3, H, W)``, normalised, 0 in the padding.
        paddings (Sequence): Of each picture.
        looks (Looks): Which looks.

    Returns:
        dict[str, Tensor]: Task key to means ``(B, D, H, W)``, for ``task.from_average``.
    """
    means = _sweep(predict, tasks, inputs, paddings, looks)
    if not looks.flip:
        return means
    mirrored = [(right, left, top, bottom) for left, right, top, bottom in paddings]
    others = _sweep(predict, tasks, inputs.flip(-1), mirrored, looks)
    return {key: (mean + tasks[key].mirror(others[key])) / 2 for key, mean in means.items()}


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Where windows begin so that they cover ``length``; the last one ends with it.

    Example:
        >>> window_starts(10, 4, 3), window_starts(11, 4, 3), window_starts(3, 4, 3)
        ([0, 3, 6], [0, 3, 6, 7], [0])
    """
    last = max(length - window, 0)
    return [*range(0, last, stride), last]


def _sweep(
    predict: Predict,
    tasks: Mapping[str, BaseTask],
    inputs: Tensor,
    paddings: Sequence[Padding],
    looks: Looks,
) -> dict[str, Tensor]:
    """The mean over all windows, or the one look at the whole picture."""
    if looks.mode == 'whole' or looks.crop_size is None:
        found = predict(inputs, paddings)
        return {key: tasks[key].to_average(pred).float() for key, pred in found.items()}
    size = (inputs.shape[-2], inputs.shape[-1])
    # Networks of a fixed size take whole windows only: small pictures are padded to one.
    bottom, right = (max(c - s, 0) for c, s in zip(looks.crop_size, size))
    inputs = F.pad(inputs, (0, right, 0, bottom))
    paddings = [(le, ri + right, to, bo + bottom) for le, ri, to, bo in paddings]
    height, width = inputs.shape[-2:]
    rows = window_starts(height, looks.crop_size[0], looks.steps[0])
    columns = window_starts(width, looks.crop_size[1], looks.steps[1])
    sums: dict[str, Tensor] = {}
    for top in rows:
        for left in columns:
            area = (top, left, *looks.crop_size)
            window = inputs[..., top : top + area[2], left : left + area[3]]
            seen = predict(window, [_padding_inside(p, area, (height, width)) for p in paddings])
            for key, pred in seen.items():
                mean = tasks[key].to_average(pred).float()
                if key not in sums:
                    sums[key] = mean.new_zeros(*mean.shape[:2], height, width)
                sums[key][..., top : top + area[2], left : left + area[3]] += mean
    counts = torch.outer(
        _coverage(rows, looks.crop_size[0], height), _coverage(columns, looks.crop_size[1], width)
    ).to(inputs.device)
    return {key: (total / counts)[..., : size[0], : size[1]] for key, total in sums.items()}


def _coverage(starts: Sequence[int], window: int, length: int) -> Tensor:
    """Windows over each position, ``(length,)``."""
    counts = torch.zeros(length)
    for start in starts:
        counts[start : start + window] += 1
    return counts


def _padding_inside(padding: Padding, area: tuple[int, int, int, int], size: Size) -> Padding:
    """Padding of a picture as it shows in the window ``area`` (top, left, height, width)."""
    left, right, top, bottom = padding
    y, x, height, width = area
    inside = (
        max(left - x, 0),
        max(x + width - (size[1] - right), 0),
        max(top - y, 0),
        max(y + height - (size[0] - bottom), 0),
    )
    # A window of nothing but padding: attention to no position at all would be NaN, and nobody
    # reads what is predicted there.
    if inside[0] + inside[1] >= width or inside[2] + inside[3] >= height:
        return 0, 0, 0, 0
    return inside


__all__ = ['Looks', 'average_looks', 'window_starts']
