"""Padding."""

from __future__ import annotations

from typing import Any

import cv2
from mmcv.transforms import BaseTransform

from mmdense.registry import TRANSFORMS
from mmdense.utils.padding import padding_of

from .functional import Array, Size, map_gt, move_intrinsics, pad, refuse_padded
from .options import check_choice


@TRANSFORMS.register_module()
class TaskAwarePad(BaseTransform):
    """Pad picture and targets; targets are unknown in the padding.

    The data preprocessor pads batches by itself; this transform is for protocols that
    centre the picture in a fixed frame. What is padding is written to ``padding_size``,
    so that the preprocessor sets it to exactly 0 after normalisation and predictions
    can be cut back. It must be the last transform that moves pixels, but for flips.

    Args:
        size (tuple[int, int] | None): Height and width to pad to; a dimension that is
            larger already stays.
        divisor (int | None): In place of ``size``: pad to a multiple.
        position (str): Where the picture goes: ``'corner'`` (top left) or ``'center'``
            (an odd difference puts the extra pixel at the bottom and right).
        with_gt (bool): False pads the picture only, as tests do.
        mode (str): What the picture is padded with: ``'constant'`` black, which the
            preprocessor turns into exactly 0; ``'reflect'`` its mirror image without
            repeating the edge (Auto-Lambda, in training). A reflection counts as picture:
            it is normalised as such and not written to ``padding_size``. Targets are
            unknown there as well.

    Required keys: img, gt, tasks. Modified: img, gt, intrinsics.
    Added: padding_size (left, right, top, bottom), pad_shape; ``img_shape`` stays the
    size of the picture inside its padding.

    Raises:
        ValueError: Unless exactly one of ``size`` and ``divisor`` is given and positive.
    """

    def __init__(
        self,
        size: Size | None = None,
        divisor: int | None = None,
        position: str = 'corner',
        with_gt: bool = True,
        mode: str = 'constant',
    ) -> None:
        if (size is None) == (divisor is None) or min(size or (divisor or 0,)) <= 0:
            raise ValueError(
                f'TaskAwarePad: size={size}, divisor={divisor}; give one of them, positive.'
            )
        check_choice('TaskAwarePad', 'position', position, ('corner', 'center'))
        check_choice('TaskAwarePad', 'mode', mode, ('constant', 'reflect'))
        if mode == 'reflect' and not with_gt:
            raise ValueError(
                "TaskAwarePad: mode='reflect' is for training; with with_gt=False predictions "
                "could not be cut back to the picture. Use mode='constant' in tests."
            )
        self.mode = mode
        self.size = None if size is None else (int(size[0]), int(size[1]))
        self.divisor = divisor
        self.position = position
        self.with_gt = with_gt

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        refuse_padded(results, self)
        shape = results['img'].shape[:2]
        padding = padding_of(shape, self.target_size(shape), self.position)
        results['img_shape'] = shape
        if any(padding):
            results['img'] = self._pad_image(results['img'], padding)
            if self.with_gt:
                map_gt(results, lambda task, gt: pad(gt, padding, task.ignore_value))
            move_intrinsics(results, offset=(padding[0], padding[2]))
        results['pad_shape'] = results['img'].shape[:2]
        if self.mode == 'reflect':
            results['img_shape'] = results['pad_shape']
        else:
            results['padding_size'] = padding
        return results

    def _pad_image(self, img: Array, padding: tuple[int, int, int, int]) -> Array:
        if self.mode == 'constant':
            return pad(img, padding, 0)
        left, right, top, bottom = padding
        return cv2.copyMakeBorder(img, top, bottom, left, right, cv2.BORDER_REFLECT_101)

    def target_size(self, size: Size) -> Size:
        """Height and width that a picture of ``size`` is padded to."""
        if self.size is not None:
            return self.size
        divisor = self.divisor or 1
        return -(-size[0] // divisor) * divisor, -(-size[1] // divisor) * divisor

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(size={self.size}, divisor={self.divisor}, '
            f'position={self.position!r}, with_gt={self.with_gt}, mode={self.mode!r})'
        )
