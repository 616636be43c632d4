"""Drawing of panels: arrays in, one picture out."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

Array = np.ndarray

GAP = 4
HEADER = 22
_BACKGROUND = 255
# Of titles, and of legends.
_SCALE, _SMALL = 0.45, 0.4


def resize_tile(picture: Array, size: tuple[int, int], nearest: bool = False) -> Array:
    """Bring a picture ``(H, W, 3)`` to ``size`` (height, width)."""
    if picture.shape[:2] == size:
        return picture
    flag = cv2.INTER_NEAREST_EXACT if nearest else cv2.INTER_LINEAR
    return cv2.resize(picture, size[::-1], interpolation=flag)


def match_size(values: Array, size: tuple[int, ...]) -> Array:
    """A map ``(h, w)`` or ``(h, w, D)`` at another size, each pixel from the nearest one."""
    if values.shape[:2] == tuple(size):
        return values
    matched: Array = cv2.resize(
        values.astype(np.float32), tuple(size[::-1]), interpolation=cv2.INTER_NEAREST_EXACT
    )
    return matched


def fit_size(shape: tuple[int, ...], low: int, high: int) -> tuple[int, int]:
    """Height and width of a tile: at least ``low`` high, no side above ``high``."""
    height, width = shape[:2]
    factor = min(max(1.0, low / height), high / max(height, width))
    return max(round(height * factor), 1), max(round(width * factor), 1)


def write_label(width: int, text: str) -> Array:
    """A header strip ``(HEADER, width, 3)`` with black text, shrunk to fit."""
    strip = np.full((HEADER, width, 3), _BACKGROUND, np.uint8)
    write_text(strip[: HEADER - 3], text)
    return strip


def write_text(canvas: Array, text: str, right: bool = False) -> None:
    """Write black text on the base line of a strip, shrunk to its width."""
    height, width = canvas.shape[:2]
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, _SCALE if height > 16 else _SMALL
    wanted = text_width(text, scale)
    factor = min(1.0, max(width - 4, 1) / max(wanted, 1))
    left = max(width - 2 - round(factor * wanted), 0) if right else 2
    # A copy: OpenCV does not write into views.
    strip = canvas.copy()
    cv2.putText(strip, text, (left, height - 4), font, scale * factor, (0, 0, 0), 1, cv2.LINE_AA)
    canvas[:] = strip


def text_width(text: str, scale: float = _SMALL) -> int:
    """Pixels that a text takes."""
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    return int(width)


def titled(picture: Array, title: str) -> Array:
    """A picture beneath its title."""
    return np.concatenate([write_label(picture.shape[1], title), picture])


def pad_tile(tile: Array, size: tuple[int, ...]) -> Array:
    """White to the right of a tile, and below it, up to ``size``."""
    canvas = np.full((size[0], size[1], 3), _BACKGROUND, np.uint8)
    canvas[: tile.shape[0], : tile.shape[1]] = tile
    return canvas


def beside(tiles: Sequence[Array], gap: int = GAP) -> Array:
    """Tiles from left to right, their tops in line."""
    height = max(tile.shape[0] for tile in tiles)
    width = sum(tile.shape[1] for tile in tiles) + gap * (len(tiles) - 1)
    canvas = np.full((height, width, 3), _BACKGROUND, np.uint8)
    left = 0
    for tile in tiles:
        canvas[: tile.shape[0], left : left + tile.shape[1]] = tile
        left += tile.shape[1] + gap
    return canvas


def below(tiles: Sequence[Array], gap: int = GAP) -> Array:
    """Tiles from top to bottom, their left sides in line."""
    return beside([tile.swapaxes(0, 1) for tile in tiles], gap).swapaxes(0, 1).copy()


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


#: From no error to the largest: white, yellow, red, dark red; black is left for the unknown.
_ERROR_COLORS = ((255, 255, 255), (255, 225, 120), (240, 120, 50), (190, 20, 30), (110, 0, 50))


def error_colors(steps: int = 256) -> Array:
    """Colours of errors from none to the largest, ``(steps, 3)`` uint8."""
    anchors = np.asarray(_ERROR_COLORS, np.float64)
    at, where = np.linspace(0, 1, steps), np.linspace(0, 1, len(anchors))
    channels = [np.interp(at, where, anchors[:, c]) for c in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def error_tile(error: Array, limit: float) -> Array:
    """Errors ``(h, w)`` in colours from 0 (white) to ``limit`` (dark red); NaN is black."""
    known = np.isfinite(error)
    share = np.clip(np.where(known, error, 0) / limit, 0, 1)
    picture: Array = error_colors()[np.rint(255 * share).astype(np.uint8)]
    picture[~known] = 0
    return picture


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
