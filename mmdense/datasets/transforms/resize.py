"""Resize to a size, and random zoom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from mmdense.registry import TRANSFORMS

from .functional import Size, map_gt, move_intrinsics, refuse_padded, resize_gt, resize_image


def _check_interpolation(name: str, interpolation: Mapping[str, str] | None) -> dict[str, str]:
    for key, mode in (interpolation or {}).items():
        if mode not in ('nearest', 'linear'):
            raise ValueError(
                f"{name}: interpolation['{key}'] is {mode!r}; choose 'nearest' or 'linear'."
            )
    return dict(interpolation or {})


class _Resizer(BaseTransform):
    """What fixed and random resizing share."""

    def __init__(self, interpolation: Mapping[str, str] | None, with_gt: bool) -> None:
        self.interpolation = _check_interpolation(type(self).__name__, interpolation)
        self.with_gt = with_gt

    def resize(self, results: dict[str, Any], size: Size) -> None:
        """Resize picture, ground truth and intrinsics to ``size`` ``(H, W)``."""
        refuse_padded(results, self)
        height, width = results['img'].shape[:2]
        results['img'] = resize_image(results['img'], size)
        results['img_shape'] = size
        if self.with_gt:
            map_gt(
                results,
                lambda task, gt: resize_gt(task, gt, size, self.interpolation.get(task.key)),
            )
        factor = (size[1] / width, size[0] / height)
        move_intrinsics(results, scale=factor)
        before = results.get('scale_factor', (1.0, 1.0))
        results['scale_factor'] = (before[0] * factor[0], before[1] * factor[1])


@TRANSFORMS.register_module()
class TaskAwareResize(_Resizer):
    """Resize picture and targets to one size or by one factor; values stay as they are.

    By the convention of all lineages a fixed resize, isotropic or not, leaves depth
    and normals unchanged. The picture is resampled bilinearly. Targets are resampled by
    nearest, or linearly between known pixels where the task or ``interpolation`` says so;
    labels are never averaged.

    Args:
        size (tuple[int, int] | None): Height and width.
        scale_factor (float | None): Factor in place of ``size``.
        keep_ratio (bool): Whether ``size`` is a frame that the picture is fitted into
            with its aspect ratio kept.
        interpolation (Mapping | None): Task key to ``'nearest'`` or ``'linear'``. Tasks
            not named: as the task says.
        with_gt (bool): False moves the picture only, as tests do: predictions are
            brought back to the native size and compared with native ground truth.

    Required keys: img, gt, tasks. Modified: img, gt, img_shape, intrinsics.
    Added: scale_factor (horizontal, vertical).

    Raises:
        ValueError: Unless exactly one of ``size`` and ``scale_factor`` is given and
            positive.
    """

    def __init__(
        self,
        size: Size | None = None,
        scale_factor: float | None = None,
        keep_ratio: bool = False,
        interpolation: Mapping[str, str] | None = None,
        with_gt: bool = True,
    ) -> None:
        super().__init__(interpolation, with_gt)
        if (size is None) == (scale_factor is None):
            raise ValueError(
                f'TaskAwareResize: size={size} and scale_factor={scale_factor}; give one of them, '
                'for example size=(480, 640) (height, width).'
            )
        if min(size or (1, 1)) <= 0 or (scale_factor is not None and scale_factor <= 0):
            raise ValueError(
                f'TaskAwareResize: size={size}, scale_factor={scale_factor} is not positive.'
            )
        self.size = None if size is None else (int(size[0]), int(size[1]))
        self.scale_factor = scale_factor
        self.keep_ratio = keep_ratio

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        self.resize(results, self.target_size(results['img'].shape[:2]))
        return results

    def target_size(self, size: Size) -> Size:
        """Height and width of a picture of ``size`` after the resize."""
        if self.size is not None and not self.keep_ratio:
            return self.size
        if self.size is not None:
            factor = min(self.size[0] / size[0], self.size[1] / size[1])
        else:
            factor = self.scale_factor or 1.0
        return max(1, int(size[0] * factor + 0.5)), max(1, int(size[1] * factor + 0.5))

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(size={self.size}, scale_factor={self.scale_factor}, '
            f'keep_ratio={self.keep_ratio}, with_gt={self.with_gt})'
        )


@TRANSFORMS.register_module()
class TaskAwareRandomScale(_Resizer):
    """Resize picture and targets by a random factor.

    With ``zoom`` the picture counts as seen from closer by: ``task.zoom`` divides metric
    depth by the factor s, and normals stay. This is what a network sees that does not
    know the focal length. Geometrically it is the same scene, made s times smaller, under
    a camera of s times the focal length: the intrinsics follow the pixels (focal lengths
    and principal point times s), so that depth and intrinsics after the transform lift to
    the true shape, with the true normals, at 1/s of its size. Focal lengths kept at their
    old value would flatten it. ``results['depth_scale']`` accumulates the 1/s.

    Args:
        scale_range (tuple[float, float]): Lowest and highest factor.
        step (float | None): Draw from ``low, low + step, ..., high``; None: uniformly.
        zoom (bool): Whether values follow (``task.zoom``), or only pixels move.
        interpolation (Mapping | None): As in :class:`TaskAwareResize`.

    Required keys: img, gt, tasks, rng. Modified: img, gt, img_shape, intrinsics.
    Added: scale_factor, depth_scale.

    Raises:
        ValueError: If the range or ``step`` is not positive.
    """

    def __init__(
        self,
        scale_range: tuple[float, float] = (0.5, 2.0),
        step: float | None = None,
        zoom: bool = True,
        interpolation: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(interpolation, with_gt=True)
        low, high = scale_range
        if not 0 < low <= high or (step is not None and step <= 0):
            raise ValueError(
                f'TaskAwareRandomScale: scale_range={scale_range}, step={step}; need '
                '0 < low <= high and a positive step, for example (0.5, 2.0) and 0.1.'
            )
        self.scale_range = (float(low), float(high))
        self.step = step
        self.zoom = zoom

    def draw(self, rng: np.random.Generator) -> float:
        """A factor."""
        low, high = self.scale_range
        if self.step is None:
            return float(rng.uniform(low, high))
        count = int((high - low) / self.step + 1e-6) + 1
        return low + self.step * int(rng.integers(count))

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        factor = self.draw(results['rng'])
        height, width = results['img'].shape[:2]
        # 1e-6: a factor such as 0.1 + 0.2 must not lose a row to rounding.
        size = (max(1, int(height * factor + 1e-6)), max(1, int(width * factor + 1e-6)))
        self.resize(results, size)
        if self.zoom:
            map_gt(results, lambda task, gt: task.zoom(gt, factor))
            results['depth_scale'] = results.get('depth_scale', 1.0) / factor
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(scale_range={self.scale_range}, step={self.step}, '
            f'zoom={self.zoom})'
        )
