"""Drawing over the picture: outlines of maps, and which of them are right."""

from __future__ import annotations

import cv2
import numpy as np

from .panels import match_size, resize_tile

Array = np.ndarray

#: What an outline is, and its colour; distinct for the colour-blind too.
OUTLINES: dict[str, tuple[int, int, int]] = {
    'found': (255, 255, 255),
    'missed': (230, 97, 0),
    'not there': (26, 133, 255),
}
#: Share of the diagonal that two outlines may lie apart: that of NYUD-v2's boundary benchmark.
TOLERANCE = 0.011


def outline_overlay(
    image: Array, pred: Array | None, truth: Array | None, size: tuple[int, int]
) -> Array:
    """Outlines over the darkened picture.

    With both, an outline of the truth is *found* if the prediction has one within
    :data:`TOLERANCE`, else *missed*, and one of the prediction that is near none of the truth is
    *not there*. This is no one-to-one matching, so it is no measurement. One alone is drawn white.

    Args:
        image (Array): ``(H, W, 3)`` uint8, RGB.
        pred (Array | None): ``(h, w)`` bool.
        truth (Array | None): ``(h, w)`` bool, of the same size.
        size (tuple[int, int]): Height and width of the result.
    """
    base = resize_tile(image, size)
    grey = cv2.cvtColor(base, cv2.COLOR_RGB2GRAY)[..., None]
    drawn = (0.35 * base + 0.15 * grey).astype(np.uint8)
    if pred is None or truth is None:
        alone = truth if pred is None else pred
        if alone is not None:
            drawn[_enlarge(alone, size)] = OUTLINES['found']
        return drawn
    pred = match_size(pred, truth.shape) > 0
    reach = max(TOLERANCE * float(np.hypot(*truth.shape)), 1.0)
    found = truth & (distance_to(pred) <= reach)
    masks = {
        'not there': pred & (distance_to(truth) > reach),
        'missed': truth & ~found,
        'found': found,
    }
    for name, mask in masks.items():
        drawn[_enlarge(mask, size)] = OUTLINES[name]
    return drawn


def distance_to(mask: Array) -> Array:
    """Distance of every pixel to the nearest one of a mask, ``(H, W)``; infinite if it is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    distance: Array = cv2.distanceTransform(
        (~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
    return distance


def _enlarge(mask: Array, size: tuple[int, int]) -> Array:
    """A mask at another size; a pixel is set if any that it comes from is."""
    height, width = mask.shape
    if size[0] < height or size[1] < width:
        # Lines one pixel wide would get lost between the sampled pixels.
        reach = [max(round(a / b), 1) for a, b in zip(mask.shape, size)]
        mask = cv2.dilate(mask.astype(np.uint8), np.ones(reach, np.uint8)) > 0
    flag = cv2.INTER_NEAREST_EXACT
    return cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=flag) > 0
