"""Drawing of panels: arrays in, one picture out."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

Array = np.ndarray

GAP = 4
HEADER = 22
_BACKGROUND = 255


def resize_tile(picture: Array, size: tuple[int, int], nearest: bool = False) -> Array:
    """Bring a picture ``(H, W, 3)`` to ``size`` (height, width)."""
    if picture.shape[:2] == size:
        return picture
    flag = cv2.INTER_NEAREST_EXACT if nearest else cv2.INTER_LINEAR
    return cv2.resize(picture, size[::-1], interpolation=flag)


def write_label(width: int, text: str) -> Array:
    """A header strip ``(HEADER, width, 3)`` with black text, shrunk to fit."""
    strip = np.full((HEADER, width, 3), _BACKGROUND, np.uint8)
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.45
    (text_width, _), _ = cv2.getTextSize(text, font, scale, 1)
    scale *= min(1.0, (width - 4) / max(text_width, 1))
    cv2.putText(strip, text, (2, HEADER - 7), font, scale, (0, 0, 0), 1, cv2.LINE_AA)
    return strip


def tile_grid(rows: Sequence[Sequence[Array]], titles: Sequence[str] | None = None) -> Array:
    """Put tiles into a grid with gaps.

    Args:
        rows (Sequence[Sequence[Array]]): Tiles ``(H, W, 3)`` uint8, all of one size;
            short rows are filled with white.
        titles (Sequence[str] | None): One per column, written above the first row.

    Returns:
        Array: One picture, uint8 RGB.
    """
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    top = HEADER if titles else 0
    canvas = np.full(
        (top + len(rows) * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3),
        _BACKGROUND,
        np.uint8,
    )
    for column, title in enumerate(titles or ()):
        left = column * (width + GAP)
        canvas[:HEADER, left : left + width] = write_label(width, title)
    for r, row in enumerate(rows):
        for c, tile in enumerate(row):
            y, x = top + r * (height + GAP), c * (width + GAP)
            canvas[y : y + height, x : x + width] = tile
    return canvas


def scale_tile(values: Array, low: float, high: float) -> Array:
    """A map ``(h, w)`` in colours from ``low`` (dark) to ``high`` (bright), ``(h, w, 3)``."""
    share = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    colors = cv2.applyColorMap((255 * share).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return cv2.cvtColor(colors, cv2.COLOR_BGR2RGB)


def heat_tile(image: Array, probability: Array) -> Array:
    """A map ``(h, w)`` from 0 to its maximum as heat over the darkened picture."""
    share = cv2.resize(probability.astype(np.float32), image.shape[1::-1])
    share = share / max(float(share.max()), 1e-6)
    heat = cv2.applyColorMap((255 * np.clip(share, 0, 1)).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    return (0.8 * cv2.cvtColor(heat, cv2.COLOR_BGR2RGB) + 0.2 * grey).astype(np.uint8)
