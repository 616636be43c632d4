"""Colour changes; they touch the picture only.

mmcv and mmseg have some of these, drawing from the global random state; here every draw
comes from the generator of the sample, so that a sample can be made again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image, ImageEnhance, ImageOps

from mmdense.registry import TRANSFORMS
from mmdense.utils import suggest

Array = np.ndarray
_LEVELS = np.arange(256, dtype=np.float32)


def scale_levels(img: Array, factor: float = 1.0, shift: float = 0.0) -> Array:
    """``factor * img + shift``, clipped to 0..255 and truncated to uint8."""
    table = np.clip(factor * _LEVELS + shift, 0, 255).astype(np.uint8)
    return cv2.LUT(img, table)


@TRANSFORMS.register_module()
class PhotoMetricDistortion(BaseTransform):
    """Brightness, contrast, saturation and hue, each with probability 1/2 (ATRC lineage).

    Order: brightness, [contrast], saturation, hue, [contrast], where contrast comes at one
    of the two places with equal chance. Every step clips and re-quantises to uint8; no
    channels are swapped.

    Args:
        brightness_delta (float): Largest shift, grey levels.
        contrast_range (tuple[float, float]): Factors.
        saturation_range (tuple[float, float]): Factors on S of HSV.
        hue_delta (int): Hue shifts are -delta to delta - 1 on OpenCV's 0..179 scale.

    Required keys: img, rng. Modified: img.
    """

    def __init__(
        self,
        brightness_delta: float = 32,
        contrast_range: tuple[float, float] = (0.5, 1.5),
        saturation_range: tuple[float, float] = (0.5, 1.5),
        hue_delta: int = 18,
    ) -> None:
        self.brightness_delta = brightness_delta
        self.contrast_range = contrast_range
        self.saturation_range = saturation_range
        self.hue_delta = hue_delta

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        """All parameters of one picture; a step that is not applied is None."""
        # A fixed number of draws keeps what follows independent of the outcomes.
        coins = rng.integers(2, size=5).astype(bool)
        values = dict(
            brightness=float(rng.uniform(-self.brightness_delta, self.brightness_delta)),
            contrast=float(rng.uniform(*self.contrast_range)),
            saturation=float(rng.uniform(*self.saturation_range)),
            hue=int(rng.integers(-self.hue_delta, self.hue_delta)) if self.hue_delta else 0,
        )
        drawn: dict[str, Any] = {
            name: value if coin else None for coin, (name, value) in zip(coins, values.items())
        }
        drawn['contrast_first'] = bool(coins[4])
        return drawn

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        drawn = self.draw(results['rng'])
        img = results['img']
        contrast = drawn['contrast']
        if drawn['brightness'] is not None:
            img = scale_levels(img, shift=drawn['brightness'])
        if contrast is not None and drawn['contrast_first']:
            img = scale_levels(img, factor=contrast)
        if drawn['saturation'] is not None:
            hsv = cv2.cvtColor(img, cv2.COLOR_RGB2HSV)
            hsv[..., 1] = scale_levels(hsv[..., 1], factor=drawn['saturation'])
            img = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
        if drawn['hue'] is not None:
            hsv = cv2.cvtColor(img, cv2.COLOR_RGB2HSV)
            table = ((np.arange(256) + drawn['hue']) % 180).astype(np.uint8)
            hsv[..., 0] = cv2.LUT(hsv[..., 0], table)
            img = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
        if contrast is not None and not drawn['contrast_first']:
            img = scale_levels(img, factor=contrast)
        results['img'] = img
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(brightness_delta={self.brightness_delta}, '
            f'contrast_range={self.contrast_range}, saturation_range={self.saturation_range}, '
            f'hue_delta={self.hue_delta})'
        )


def _enhance(kind: Callable) -> Callable[[Image.Image, float], Image.Image]:
    return lambda img, magnitude: kind(img).enhance(0.1 + 0.18 * magnitude)


#: Operation name to ``op(picture, magnitude)``; magnitudes are out of 10.
COLOR_OPERATIONS: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    'Sharpness': _enhance(ImageEnhance.Sharpness),
    'Brightness': _enhance(ImageEnhance.Brightness),
    'Contrast': _enhance(ImageEnhance.Contrast),
    'Color': _enhance(ImageEnhance.Color),
    'Solarize': lambda img, magnitude: ImageOps.solarize(img, int(magnitude / 10 * 256)),
    'Equalize': lambda img, magnitude: ImageOps.equalize(img),
}

#: The policy kMaX-DeepLab trains with: sub-policies of (operation, probability, magnitude).
KMAX_POLICY = (
    (('Sharpness', 0.4, 7), ('Brightness', 0.2, 10)),
    (('Equalize', 0.0, 9), ('Contrast', 0.2, 10)),
    (('Sharpness', 0.2, 9), ('Color', 0.2, 9)),
    (('Solarize', 0.2, 7), ('Equalize', 0.6, 9)),
    (('Sharpness', 0.2, 1), ('Equalize', 0.2, 7)),
)


@TRANSFORMS.register_module()
class ColorPolicy(BaseTransform):
    """One sub-policy of colour operations per picture (AutoAugment's colour part).

    A sub-policy is drawn uniformly; each of its operations applies with its own
    probability. Enhancers use the factor 0.1 + 0.18 * magnitude; Solarize inverts levels
    of at least 25.6 * magnitude (truncated).

    Args:
        policy (Sequence | None): Sub-policies of (operation, probability, magnitude out of
            10). None: the policy of kMaX-DeepLab, which PolyMaX trains with.
        magnitude_scale (float): Factor on all magnitudes; kMaX uses 0.2 on Cityscapes.

    Required keys: img, rng. Modified: img.

    Raises:
        KeyError: If an operation is unknown.
        ValueError: If a probability is outside [0, 1].
    """

    def __init__(
        self,
        policy: Sequence[Sequence[tuple[str, float, float]]] | None = None,
        magnitude_scale: float = 1.0,
    ) -> None:
        self.policy = KMAX_POLICY if policy is None else policy
        self.magnitude_scale = magnitude_scale
        for name, prob, _ in (step for sub in self.policy for step in sub):
            if name not in COLOR_OPERATIONS:
                raise KeyError(
                    f'ColorPolicy: operation {name!r}. {suggest(name, COLOR_OPERATIONS)}'
                )
            if not 0 <= prob <= 1:
                raise ValueError(f'ColorPolicy: probability {prob} of {name} is not in [0, 1].')

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        rng: np.random.Generator = results['rng']
        sub_policy = self.policy[int(rng.integers(len(self.policy)))]
        coins = rng.random(len(sub_policy))
        steps = [step for step, coin in zip(sub_policy, coins) if coin < step[1]]
        if not steps:
            return results
        img = Image.fromarray(np.ascontiguousarray(results['img']))
        for name, _, magnitude in steps:
            img = COLOR_OPERATIONS[name](img, magnitude * self.magnitude_scale)
        results['img'] = np.array(img)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(magnitude_scale={self.magnitude_scale})'


@TRANSFORMS.register_module()
class RandomBrightnessGamma(BaseTransform):
    """Gamma, brightness and a factor per channel (the depth pipeline of BinsFormer).

    ``img = clip(factor_c * brightness * (img / 255) ** gamma)``.

    Args:
        prob (float): Probability.
        gamma_range (tuple[float, float]): Exponents.
        brightness_range (tuple[float, float]): Factors on all channels.
        channel_range (tuple[float, float]): Factors per channel.

    Required keys: img, rng. Modified: img.
    """

    def __init__(
        self,
        prob: float = 0.5,
        gamma_range: tuple[float, float] = (0.9, 1.1),
        brightness_range: tuple[float, float] = (0.75, 1.25),
        channel_range: tuple[float, float] = (0.9, 1.1),
    ) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'RandomBrightnessGamma: `prob` is {prob}; it must be in [0, 1].')
        self.prob = prob
        self.gamma_range = gamma_range
        self.brightness_range = brightness_range
        self.channel_range = channel_range

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        rng: np.random.Generator = results['rng']
        apply = rng.random() < self.prob
        gamma = rng.uniform(*self.gamma_range)
        factors = rng.uniform(*self.brightness_range) * rng.uniform(*self.channel_range, size=3)
        if not apply:
            return results
        levels = 255 * (_LEVELS[:, None] / 255) ** gamma * factors
        table = np.clip(levels, 0, 255).astype(np.uint8)
        results['img'] = cv2.LUT(results['img'], table[:, None, :])
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(prob={self.prob}, gamma_range={self.gamma_range}, '
            f'brightness_range={self.brightness_range}, channel_range={self.channel_range})'
        )
