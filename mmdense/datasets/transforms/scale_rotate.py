"""Rotation and zoom in one warp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmdense.registry import TRANSFORMS
from mmdense.tasks import BaseTask

from .functional import INTERPOLATIONS, Array, map_gt, refuse_padded, warp, warp_results
from .options import Factors, check_choice, check_interpolation


@TRANSFORMS.register_module()
class TaskAwareScaleRotate(BaseTransform):
    """Zoom and turn picture and targets by one affine warp at constant size (ASTMT lineage).

    The warp keeps the pixel of index (W / 2, H / 2) in place. Picture and normals are
    resampled by cubic convolution, the others by nearest. Values follow ``task.zoom`` and
    ``task.rotate``: metric depth is divided by the factor, normals turn with the picture.
    What comes in from outside is black and unknown.

    Differs from the released code, where a switch does not say otherwise: overshoots of the
    picture are clipped (there they wrap around to the other end of 0..255), normals do not
    bleed over the border of the known region and have unit length.

    Args:
        scale_range (tuple[float, float]): Lowest and highest factor, drawn uniformly.
        scales (Sequence[float] | None): Draw from these, in place of the range.
        degrees (float | tuple[float, float]): Range of the angle, counter-clockwise as
            seen, drawn uniformly; one number means +- that.
        angles (Sequence[float] | None): Draw from these degrees, in place of the range.
        interpolation (Mapping | None): Task key to ``'nearest'``, ``'linear'`` or
            ``'cubic'`` (normals only). None: normals cubic, the others as the task says.
        image_interpolation (str): The same for the picture.
        fill (str): Targets outside the old picture: ``'ignore'``: unknown. ``'zero'``, as
            released: 0 in every target, which is class 0 in labels (background, or *wall*
            on NYUD-v2), no boundary, not salient.
        normals_y (str): ``'up'``: (x, y) of normals turn as the picture does. ``'down'``, as
            released: the other way, which is right only where y points down.

    Required keys: img, gt, tasks, rng. Modified: img, gt, intrinsics. Added: rotation
    (radians), depth_scale.

    Raises:
        ValueError: If a range, factor, angle or option is impossible.
    """

    def __init__(
        self,
        scale_range: tuple[float, float] = (0.75, 1.25),
        scales: Sequence[float] | None = None,
        degrees: float | tuple[float, float] = 20.0,
        angles: Sequence[float] | None = None,
        interpolation: Mapping[str, str] | None = None,
        image_interpolation: str = 'cubic',
        fill: str = 'ignore',
        normals_y: str = 'up',
    ) -> None:
        name = type(self).__name__
        low, high = (-degrees, degrees) if isinstance(degrees, (int, float)) else degrees
        if not low <= high or (angles is not None and not len(angles)):
            raise ValueError(
                f'{name}: degrees={degrees}, angles={angles}; need low <= high, or at least '
                'one angle, for example degrees=20 or angles=[0].'
            )
        self.factors = Factors(name, scale_range, scales=scales)
        self.degrees = (float(low), float(high))
        self.angles = None if angles is None else tuple(map(float, angles))
        if interpolation is None:
            interpolation = dict(normal='cubic')
        self.interpolation = check_interpolation(name, interpolation)
        self.image_interpolation = check_choice(
            name, 'image_interpolation', image_interpolation, INTERPOLATIONS
        )
        self.fill = check_choice(name, 'fill', fill, ('ignore', 'zero'))
        self.normals_y = check_choice(name, 'normals_y', normals_y, ('up', 'down'))

    def draw(self, rng: np.random.Generator) -> tuple[float, float]:
        """A factor and an angle in degrees."""
        factor = self.factors.draw(rng)
        if self.angles is not None:
            return factor, self.angles[int(rng.integers(len(self.angles)))]
        return factor, float(rng.uniform(*self.degrees))

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        refuse_padded(results, self)
        factor, degrees = self.draw(results['rng'])
        if factor == 1 and degrees == 0:
            return results
        height, width = results['img'].shape[:2]
        # Indices, as released: half a pixel beside the centre of the picture.
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, factor)
        angle = np.deg2rad(degrees)
        turn = angle if self.normals_y == 'up' else -angle
        warp_results(
            results,
            matrix,
            self.image_interpolation,
            self.interpolation,
            lambda task, gt: task.zoom(task.rotate(gt, turn), factor),
        )
        if self.fill == 'zero':
            ones = np.ones((height, width), np.uint8)
            outside = warp(ones, matrix, 'nearest', 0) == 0
            map_gt(results, lambda task, gt: _zero(task, gt, outside))
        results['rotation'] = float(results.get('rotation', 0.0) + angle)
        results['depth_scale'] = results.get('depth_scale', 1.0) / factor
        return results

    def __repr__(self) -> str:
        angles = f'degrees={self.degrees}' if self.angles is None else f'angles={self.angles}'
        return (
            f'{type(self).__name__}({self.factors}, {angles}, fill={self.fill!r}, '
            f'normals_y={self.normals_y!r})'
        )


def _zero(task: BaseTask, gt: Array, outside: Array) -> Array:
    if task.ignore_value != 0:
        gt[outside] = 0
    return gt
