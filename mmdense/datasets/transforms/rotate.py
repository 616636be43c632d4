"""In-plane rotation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmdense.registry import TRANSFORMS

from .functional import refuse_padded, warp_results
from .options import check_interpolation


@TRANSFORMS.register_module()
class TaskAwareRotate(BaseTransform):
    """Rotate picture and targets about the picture centre, at constant size.

    Values follow ``task.rotate``: a counter-clockwise turn of the picture turns (x, y) of
    the normals counter-clockwise. Depth along the optical axis does not change under a
    roll of the camera. What comes in from outside is black and unknown. The principal
    point turns with the picture; pixels are taken to be square (fx = fy), otherwise a
    rotated picture has no intrinsics without skew.

    Args:
        degrees (float | tuple[float, float]): Range of the angle, counter-clockwise as
            seen; one number means +- that.
        prob (float): Probability.
        interpolation (Mapping | None): Task key to ``'nearest'``, ``'linear'`` or
            ``'cubic'``; tasks not named: as the task says.

    Required keys: img, gt, tasks, rng. Modified: img, gt, intrinsics. Added: rotation
    (radians).

    Raises:
        ValueError: If ``prob`` or the range is impossible.
    """

    def __init__(
        self,
        degrees: float | tuple[float, float],
        prob: float = 0.5,
        interpolation: Mapping[str, str] | None = None,
    ) -> None:
        low, high = (
            (-degrees, degrees) if isinstance(degrees, (int, float)) else tuple(map(float, degrees))
        )
        if not low <= high or not 0 <= prob <= 1:
            raise ValueError(
                f'TaskAwareRotate: degrees={degrees}, prob={prob}; need low <= high and a '
                'probability in [0, 1].'
            )
        self.degrees = (float(low), float(high))
        self.prob = prob
        self.interpolation = check_interpolation(type(self).__name__, interpolation)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        refuse_padded(results, self)
        rng: np.random.Generator = results['rng']
        apply = rng.random() < self.prob
        degrees = float(rng.uniform(*self.degrees))
        if not apply:
            return results
        height, width = results['img'].shape[:2]
        # cv2 counts from pixel centres, so the picture centre is half a pixel less.
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
        angle = np.deg2rad(degrees)
        warp_results(
            results, matrix, 'linear', self.interpolation, lambda task, gt: task.rotate(gt, angle)
        )
        results['rotation'] = float(results.get('rotation', 0.0) + angle)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(degrees={self.degrees}, prob={self.prob})'
