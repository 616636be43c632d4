"""Crops: random, centred, and of a fixed border."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmdense.registry import TRANSFORMS

from .functional import Array, Size, map_gt, move_intrinsics, refuse_padded


def crop_results(results: dict[str, Any], rows: slice, cols: slice) -> None:
    """Cut picture, ground truth and intrinsics to the window."""
    results['img'] = results['img'][rows, cols]
    results['img_shape'] = results['img'].shape[:2]
    map_gt(results, lambda task, gt: gt[rows, cols])
    move_intrinsics(results, offset=(-cols.start, -rows.start))


@TRANSFORMS.register_module()
class TaskAwareCrop(BaseTransform):
    """Cut a window of at most ``size`` out of picture and targets.

    In a dimension smaller than the window nothing is cut (offset 0, no padding). A random
    window may be redrawn until its labels vary enough: more than one class, and none of
    them on ``cat_max_ratio`` or more of the known pixels (ATRC: 0.75). The labels looked at
    are those of ``cat_task``; a picture without them keeps the first draw. To train
    without segmentation on the windows of a multi-task run, let the data set have the task
    ``semseg`` and the model not.

    Args:
        size (tuple[int, int]): Height and width.
        mode (str): ``'random'`` or ``'center'``.
        cat_max_ratio (float): Largest share of one class; 1 switches the test off.
        cat_task (str): Key of the label task that the test looks at.
        max_redraws (int): Number of redraws before the last window is taken.

    Required keys: img, gt, tasks, rng (random mode). Modified: img, gt, img_shape,
    intrinsics.

    Raises:
        ValueError: If ``size``, ``mode`` or ``cat_max_ratio`` is impossible.
    """

    def __init__(
        self,
        size: Size,
        mode: str = 'random',
        cat_max_ratio: float = 1.0,
        cat_task: str = 'semseg',
        max_redraws: int = 10,
    ) -> None:
        if min(size) <= 0 or mode not in ('random', 'center') or not 0 < cat_max_ratio <= 1:
            raise ValueError(
                f'TaskAwareCrop: size={size}, mode={mode!r}, cat_max_ratio={cat_max_ratio}; need '
                "positive (height, width), mode 'random' or 'center', and a ratio in (0, 1]."
            )
        self.size = (int(size[0]), int(size[1]))
        self.mode = mode
        self.cat_max_ratio = cat_max_ratio
        self.cat_task = cat_task
        self.max_redraws = max_redraws

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        refuse_padded(results, self)
        shape = results['img'].shape[:2]
        margins = [max(have - want, 0) for have, want in zip(shape, self.size)]
        if self.mode == 'center':
            window = self._window([margin // 2 for margin in margins])
        else:
            window = self._draw(results, margins)
        crop_results(results, *window)
        return results

    def _window(self, offsets: list[int]) -> tuple[slice, slice]:
        top, left = offsets
        return slice(top, top + self.size[0]), slice(left, left + self.size[1])

    def _draw(self, results: dict[str, Any], margins: list[int]) -> tuple[slice, slice]:
        rng: np.random.Generator = results['rng']
        labels = results.get('gt', {}).get(self.cat_task) if self.cat_max_ratio < 1 else None
        window = self._window([int(rng.integers(margin + 1)) for margin in margins])
        for _ in range(self.max_redraws):
            if labels is None or self._varied(results, labels[window]):
                break
            window = self._window([int(rng.integers(margin + 1)) for margin in margins])
        return window

    def _varied(self, results: dict[str, Any], labels: Array) -> bool:
        # On large windows ten times as fast as numpy's bincount; exact below 2**24 pixels.
        counts = cv2.calcHist([labels], [0], None, [256], [0, 256]).ravel()
        known = results['tasks'][self.cat_task].valid(np.arange(256, dtype=np.uint8))
        counts = counts[known].astype(np.int64)
        varied = np.count_nonzero(counts) > 1 and counts.max() < self.cat_max_ratio * counts.sum()
        return bool(varied)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(size={self.size}, mode={self.mode!r}, '
            f'cat_max_ratio={self.cat_max_ratio}, cat_task={self.cat_task!r})'
        )


@TRANSFORMS.register_module()
class TaskAwareBorderCrop(BaseTransform):
    """Cut a fixed window out of picture and targets.

    The defaults cut the white border of 480x640 NYUv2 frames, as BinsFormer does.

    Args:
        rows (tuple[int, int]): First row and the row after the last.
        cols (tuple[int, int]): First column and the column after the last.

    Required keys: img, gt, tasks. Modified: img, gt, img_shape, intrinsics.

    Raises:
        ValueError: If the window is empty, or larger than the picture.
    """

    def __init__(
        self, rows: tuple[int, int] = (45, 472), cols: tuple[int, int] = (43, 608)
    ) -> None:
        if not (0 <= rows[0] < rows[1] and 0 <= cols[0] < cols[1]):
            raise ValueError(
                f'TaskAwareBorderCrop: rows={rows}, cols={cols} is empty or negative; need '
                '0 <= first < end.'
            )
        self.rows = slice(*rows)
        self.cols = slice(*cols)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        refuse_padded(results, self)
        height, width = results['img'].shape[:2]
        if self.rows.stop > height or self.cols.stop > width:
            raise ValueError(
                f'{self!r} needs a picture of at least {self.rows.stop}x{self.cols.stop}, but '
                f'{results.get("img_path", "this one")} is {height}x{width}. The window is meant '
                'for pictures of the size that the camera delivered.'
            )
        crop_results(results, self.rows, self.cols)
        return results

    def __repr__(self) -> str:
        rows, cols = self.rows, self.cols
        return (
            f'{type(self).__name__}(rows=({rows.start}, {rows.stop}), '
            f'cols=({cols.start}, {cols.stop}))'
        )
