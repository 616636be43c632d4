"""Horizontal flip."""

from __future__ import annotations

from typing import Any

import cv2
from mmcv.transforms import BaseTransform

from mmdense.registry import TRANSFORMS

from .functional import map_gt, move_intrinsics


@TRANSFORMS.register_module()
class TaskAwareFlip(BaseTransform):
    """Mirror the picture horizontally, and every target in the way its task says.

    Args:
        prob (float): Probability.

    Required keys: img, gt, tasks, rng. Modified: img, gt, intrinsics, padding_size.
    Added: flip, flip_direction (the names mmseg's tools read).
    """

    def __init__(self, prob: float = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'TaskAwareFlip: `prob` is {prob}; it must be in [0, 1].')
        self.prob = prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        flip = bool(results['rng'].random() < self.prob)
        results['flip'] = flip
        results['flip_direction'] = 'horizontal' if flip else None
        if not flip:
            return results
        results['img'] = cv2.flip(results['img'], 1)
        map_gt(results, lambda task, gt: task.flip(gt))
        if 'intrinsics' in results:
            # The mirrored camera keeps a positive focal length: only positions mirror.
            width = results['img'].shape[1]
            shift = width - 2 * float(results['intrinsics'][0][2])
            move_intrinsics(results, offset=(shift, 0))
        if 'padding_size' in results:
            left, right, top, bottom = results['padding_size']
            results['padding_size'] = (right, left, top, bottom)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob})'
