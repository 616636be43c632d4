"""Resize to a size, random zoom, and zoom into a window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from mmdense.registry import TRANSFORMS

from .crop import crop_results
from .functional import (
    Size,
    map_gt,
    move_intrinsics,
    refuse_padded,
    resize_aligned,
    resize_gt,
    resize_image,
)
from .options import Factors, check_interpolation, check_resampling


class _Resizer(BaseTransform):
    """What fixed and random resizing share."""

    def __init__(
        self,
        interpolation: Mapping[str, str] | None,
        image_interpolation: str,
        nearest: str,
        align_corners: bool = False,
        with_gt: bool = True,
    ) -> None:
        name = type(self).__name__
        check_resampling(name, image_interpolation, nearest)
        self.interpolation = check_interpolation(name, interpolation)
        self.image_interpolation = image_interpolation
        self.nearest = nearest
        self.align_corners = align_corners
        self.with_gt = with_gt

    def resize(self, results: dict[str, Any], size: Size) -> None:
        """Resize picture, ground truth and intrinsics to ``size`` ``(H, W)``."""
        refuse_padded(results, self)
        height, width = results['img'].shape[:2]
        if self.align_corners:
            results['img'] = resize_aligned(results['img'], size)
        else:
            results['img'] = resize_image(results['img'], size, self.image_interpolation)
        results['img_shape'] = size
        if self.with_gt:
            map_gt(
                results,
                lambda task, gt: resize_gt(
                    task,
                    gt,
                    size,
                    self.interpolation.get(task.key),
                    self.nearest,
                    self.align_corners,
                ),
            )
        factor = (size[1] / width, size[0] / height)
        move_intrinsics(results, scale=factor)
        before = results.get('scale_factor', (1.0, 1.0))
        results['scale_factor'] = (before[0] * factor[0], before[1] * factor[1])


def zoom_values(results: dict[str, Any], factor: float) -> None:
    """Let values follow a picture that was enlarged ``factor`` times."""
    map_gt(results, lambda task, gt: task.zoom(gt, factor))
    results['depth_scale'] = results.get('depth_scale', 1.0) / factor


@TRANSFORMS.register_module()
class TaskAwareResize(_Resizer):
    """Resize picture and targets to one size or by one factor; values stay as they are.

    By the convention of all lineages a fixed resize, isotropic or not, leaves depth
    and normals unchanged. Targets are resampled by nearest, or between known pixels where
    the task or ``interpolation`` says so; labels are never averaged. ASTMT's fixed resize is
    ``image_interpolation='cubic', interpolation=dict(normal='cubic')``; unlike there, cubic
    overshoots of the picture are clipped, and normals do not bleed over the border of the
    known region.

    Args:
        size (tuple[int, int] | None): Height and width.
        scale_factor (float | None): Factor in place of ``size``.
        keep_ratio (bool): Whether ``size`` is a frame that the picture is fitted into
            with its aspect ratio kept.
        interpolation (Mapping | None): Task key to ``'nearest'``, ``'linear'`` or
            ``'cubic'`` (normals only). Tasks not named: as the task says.
        with_gt (bool): False moves the picture only, as tests do: predictions are
            brought back to the native size and compared with native ground truth.
        image_interpolation (str): The same as ``interpolation`` for the picture.
        nearest (str): ``'center'``: nearest takes the pixel that holds the centre of the
            target pixel. ``'corner'``: that of its upper left corner, as the released code
            of all lineages has it; see :func:`~.functional.nearest_index`.

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
        image_interpolation: str = 'linear',
        nearest: str = 'center',
    ) -> None:
        super().__init__(interpolation, image_interpolation, nearest, with_gt=with_gt)
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
            f'keep_ratio={self.keep_ratio}, image_interpolation={self.image_interpolation!r}, '
            f'nearest={self.nearest!r}, with_gt={self.with_gt})'
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
        interpolation, image_interpolation, nearest: As in :class:`TaskAwareResize`.
        scales (Sequence[float] | None): Draw from these, in place of the range.

    Required keys: img, gt, tasks, rng. Modified: img, gt, img_shape, intrinsics.
    Added: scale_factor, depth_scale.

    Raises:
        ValueError: If the range, ``step`` or a factor is not positive.
    """

    def __init__(
        self,
        scale_range: tuple[float, float] = (0.5, 2.0),
        step: float | None = None,
        zoom: bool = True,
        interpolation: Mapping[str, str] | None = None,
        scales: Sequence[float] | None = None,
        image_interpolation: str = 'linear',
        nearest: str = 'center',
    ) -> None:
        super().__init__(interpolation, image_interpolation, nearest)
        self.factors = Factors(type(self).__name__, scale_range, step, scales)
        self.zoom = zoom

    def draw(self, rng: np.random.Generator) -> float:
        """A factor."""
        return self.factors.draw(rng)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        factor = self.draw(results['rng'])
        height, width = results['img'].shape[:2]
        # 1e-6: a factor such as 0.1 + 0.2 must not lose a row to rounding.
        size = (max(1, int(height * factor + 1e-6)), max(1, int(width * factor + 1e-6)))
        self.resize(results, size)
        if self.zoom:
            zoom_values(results, factor)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.factors}, zoom={self.zoom}, nearest={self.nearest!r})'


@TRANSFORMS.register_module()
class TaskAwareRandomScaleCrop(_Resizer):
    """Zoom into a random window at constant size (LibMTL, after PAD-Net and MTI-Net).

    A factor s is drawn, a window of ``(H / s, W / s)``, rounded down, is cut out at a
    uniform offset and resized back to ``(H, W)``; values follow ``task.zoom``, as in
    :class:`TaskAwareRandomScale`. LibMTL's form has ``align_corners=True`` and
    ``interpolation=dict(normal='linear')``. Unlike there, normals have unit length
    afterwards, and unknown pixels are not averaged in.

    Args:
        scales (Sequence[float] | None): Factors, at least 1, to draw from. None: draw
            uniformly from ``scale_range``.
        scale_range (tuple[float, float]): Lowest and highest factor.
        interpolation, image_interpolation, nearest: As in :class:`TaskAwareResize`.
        align_corners (bool): Whether linear resampling maps corner pixels onto corner
            pixels. Labels, moved by nearest, then lie up to half a pixel beside the
            picture.

    Required keys: img, gt, tasks, rng. Modified: img, gt, img_shape, intrinsics.
    Added: scale_factor, depth_scale.

    Raises:
        ValueError: If a factor is below 1, or the range is empty.
    """

    def __init__(
        self,
        scales: Sequence[float] | None = (1.0, 1.2, 1.5),
        scale_range: tuple[float, float] = (1.0, 1.5),
        interpolation: Mapping[str, str] | None = None,
        image_interpolation: str = 'linear',
        nearest: str = 'center',
        align_corners: bool = False,
    ) -> None:
        super().__init__(interpolation, image_interpolation, nearest, align_corners)
        name = type(self).__name__
        self.factors = Factors(name, scale_range, scales=scales)
        if min(scale_range if scales is None else scales) < 1:
            raise ValueError(
                f'{name}: {self.factors}; a window cannot be larger than the picture. Use factors '
                'of at least 1, or TaskAwareRandomScale followed by TaskAwareCrop.'
            )
        modes = (image_interpolation, *self.interpolation.values())
        if align_corners and 'cubic' in modes:
            raise ValueError(
                f"{name}: align_corners=True is for 'linear'; 'cubic' has no such form."
            )

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        refuse_padded(results, self)
        rng: np.random.Generator = results['rng']
        factor = self.factors.draw(rng)
        size = results['img'].shape[:2]
        # 1e-6: H / s of a whole number must not lose a row to rounding.
        window = [max(1, int(side / factor + 1e-6)) for side in size]
        top, left = (int(rng.integers(a - b + 1)) for a, b in zip(size, window))
        crop_results(results, slice(top, top + window[0]), slice(left, left + window[1]))
        self.resize(results, size)
        zoom_values(results, factor)
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}({self.factors}, align_corners={self.align_corners}, '
            f'nearest={self.nearest!r})'
        )
