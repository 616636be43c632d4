"""Procedural colours of surfaces, evaluated in surface coordinates.

Nothing here depends on the size of the picture but the width of thin seams, which fade
where they are narrower than a pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import materials as m
from .noise import cells, lattice, value_noise
from .primitives import Solids
from .surface import Surface

Array = np.ndarray


@dataclass
class Paint:
    """The look of each of n pixels before light falls on it.

    Attributes:
        albedo: Linear RGB ``(3, n)`` float32.
        emission: Share that shines by itself ``(n,)`` float32.
        glass: Where a depth camera sees through or is blinded: panes and screens, bool ``(n,)``.
        noise: Noise of the material in [0, 1), ``(n,)``.
    """

    albedo: Array
    emission: Array
    glass: Array
    noise: Array


@dataclass
class Patch:
    """The pixels of one pattern: what its function works with.

    Attributes:
        u, v: Surface coordinates, metres; ``a``, ``b``: the same over the solid's half
            extents, in [-1, 1] on a front face.
        face: Box face axis, 3 on curved solids.
        noise, grain: Coarse and fine noise in [0, 1).
        first, second: The material's two numbers.
        seed: Its offset.
        color, color2: Linear RGB ``(3, n)``.
        pixel: Width of a pixel on the surface if it faced the camera, metres.
    """

    u: Array
    v: Array
    a: Array
    b: Array
    face: Array
    noise: Array
    grain: Array
    first: Array
    second: Array
    seed: Array
    color: Array
    color2: Array
    pixel: Array

    def mix(self, share: Array) -> Array:
        """``share`` 0 is the first colour, 1 the second."""
        return self.color + (self.color2 - self.color) * share


def hue_color(hue: Array, saturation: Array | float, value: Array | float) -> Array:
    """Linear RGB ``(3, n)`` of hue, saturation and value in [0, 1]."""
    wheel = np.stack([hue, hue + np.float32(2 / 3), hue + np.float32(1 / 3)])
    wheel = np.clip(np.abs((wheel % 1) * 6 - 3) - 1, 0, 1)
    return np.square(value * (1 - saturation * (1 - wheel))).astype(np.float32)


def seam(distance: Array, width: float, pixel: Array) -> Array:
    """Darkness in [0, 1] of a seam ``width`` metres wide at ``distance`` metres from its middle."""
    blur = np.maximum(pixel, width)
    return np.maximum(1 - distance / blur, 0) * (width / blur)


def _plain(p: Patch) -> Array:
    return p.color * (0.9 + 0.16 * p.noise + 0.04 * p.grain)


def _wood(p: Patch) -> Array:
    return p.mix(p.noise) * (0.85 + 0.25 * p.grain)


def _planks(p: Patch) -> Array:
    width, length = p.first, p.second
    row, across = cells(p.v / width)
    column, along = cells(p.u / length + lattice(row, 7))
    tone = lattice(column + 5, row)
    gap = np.minimum(np.minimum(across, 1 - across) * width, np.minimum(along, 1 - along) * length)
    share = 0.55 * tone + 0.45 * p.noise
    return p.mix(share) * (0.9 + 0.15 * p.grain) * (1 - 0.6 * seam(gap, 0.004, p.pixel))


def _tiles(p: Patch) -> Array:
    side = p.first
    column, x = cells(p.u / side)
    row, y = cells(p.v / side)
    gap = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y)) * side
    tone = 0.88 + 0.12 * lattice(column, row) + 0.1 * p.noise
    return (p.color + (p.color2 - p.color) * seam(gap, 0.006, p.pixel)) * tone


def _carpet(p: Patch) -> Array:
    return p.mix(p.noise) * (0.75 + 0.4 * p.grain)


def _fabric(p: Patch) -> Array:
    return p.mix(p.noise) * (0.85 + 0.2 * p.grain)


def _stripes(p: Patch) -> Array:
    share = (p.u * p.first % 1 < p.second).astype(np.float32)
    return p.mix(share) * (0.92 + 0.1 * p.noise)


def _plaid(p: Patch) -> Array:
    across = (p.u * p.first % 1 < p.second).astype(np.float32)
    along = (p.v * p.first % 1 < p.second).astype(np.float32)
    return p.mix(0.5 * (across + along)) * (0.92 + 0.1 * p.noise)


def _spines(p: Patch) -> Array:
    pitch = p.first
    x = p.u / pitch + p.seed
    book, place = cells(x)
    # Spines differ in width: their borders are shifted at random.
    book = book - (place < 0.5 * lattice(book, 1))
    key = book + (p.seed * 97).astype(np.int32)
    hue, tone, height = lattice(key, 2), lattice(key, 3), lattice(key, 4)
    color = hue_color(hue, 0.85 - 0.6 * tone * tone, 0.3 + 0.6 * lattice(key, 5))
    band = np.abs(p.b - (hue - 0.3)) < 0.06 + 0.1 * tone
    color = np.where(band, 0.5 * color + 0.35, color)
    color = np.where(p.b > 1 - 0.5 * height * p.second, np.float32(0.01), color)
    # From above one sees the paper.
    return np.where(p.face == 1, p.color * (0.7 + 0.3 * lattice(key, 6)), color)


def _art(p: Patch) -> Array:
    x, y = 1.4 * p.a + p.seed, 1.4 * p.b + 3 * p.seed
    field = value_noise(x, y)
    detail = value_noise(4 * x, 4 * y)
    level, inside = cells(5 * field + 0.8 * detail)
    key = level + (p.seed * 31).astype(np.int32)
    hue = p.first + 0.35 * lattice(key, 9)
    art = hue_color(hue, 0.25 + 0.65 * lattice(key, 10), 0.3 + 0.65 * lattice(key, 11))
    art = art * (0.85 + 0.3 * inside)
    rim = np.maximum(np.abs(p.a), np.abs(p.b))
    mat = 1 - p.second
    art = np.where(rim > mat, np.float32(0.85), art)
    frame = (rim > 0.9) | (p.face != 2)
    return np.where(frame, p.color, art)


def _pane(p: Patch) -> Array:
    """A window: frame, bars, and behind the glass sky over trees or houses."""
    frame = _window_frame(p)
    skyline = -0.1 + 0.5 * (value_noise(2.2 * p.u + p.seed, p.seed) - 0.5)
    sky = hue_color(0.57 + 0 * p.a, np.clip(0.35 - 0.25 * p.b, 0, 1), 0.97)
    leaf = value_noise(14 * p.u + p.seed, 14 * p.v)
    ground = hue_color(p.first, 0.45 + 0 * p.a, 0.35 + 0.35 * leaf)
    view = np.where(p.b > skyline + 0.15 * leaf, sky, ground)
    return np.where(frame, p.color, view)


def _window_frame(p: Patch) -> Array:
    rim = np.maximum(np.abs(p.a), np.abs(p.b)) > 0.92
    bars = np.abs(p.a) < 0.03
    cross = (np.abs(p.b - 0.2) < 0.03) & (p.second > 0.5)
    return rim | bars | cross | (p.face != 2)


def _screen(p: Patch) -> Array:
    bezel = (np.maximum(np.abs(p.a), np.abs(p.b)) > 0.95) | (p.face != 2)
    shine = np.clip(0.5 + 0.6 * (p.a * 0.6 + p.b) + 0.2 * p.noise, 0, 1)
    off = p.color * (0.4 + 1.6 * shine * shine)
    field = value_noise(1.5 * p.a + p.seed, 1.5 * p.b + p.seed)
    on = hue_color(p.first + 0.5 * field, 0.7 + 0 * p.a, 0.25 + 0.7 * field)
    picture = np.where(p.second > 0.5, on, off)
    return np.where(bezel, np.float32(0.012), picture)


def _panels(p: Patch) -> Array:
    base = _wood(p)
    columns, rows = p.first, p.second
    column, x = cells((p.a * 0.5 + 0.5) * columns)
    _, y = cells((p.b * 0.5 + 0.5) * rows)
    border = np.minimum(np.minimum(x, 1 - x) * 1.4, np.minimum(y, 1 - y))
    dark = (border < 0.022) | ((border > 0.11) & (border < 0.125))
    grip = np.where(column % 2 == 0, np.float32(0.9), np.float32(0.1))
    handle = (np.abs(x - grip) < 0.035) & (np.abs(y - 0.5) < 0.09)
    base = base * np.where(dark, np.float32(0.45), np.float32(1))
    base = np.where(handle, np.float32(0.08), base)
    return np.where(p.face == 2, base, _wood(p))


def _leaves(p: Patch) -> Array:
    return p.mix((p.grain > 0.5).astype(np.float32)) * (0.4 + 0.9 * p.noise)


_PATTERNS: dict[int, Callable[[Patch], Array]] = {
    m.PLAIN: _plain,
    m.WOOD: _wood,
    m.PLANKS: _planks,
    m.TILES: _tiles,
    m.CARPET: _carpet,
    m.FABRIC: _fabric,
    m.STRIPES: _stripes,
    m.PLAID: _plaid,
    m.SPINES: _spines,
    m.ART: _art,
    m.PANE: _pane,
    m.SCREEN: _screen,
    m.PANELS: _panels,
    m.LEAVES: _leaves,
    m.GLOW: _plain,
}


def paint(solids: Solids, surface: Surface, focal: float) -> Paint:
    """Evaluate the material of every pixel.

    Args:
        solids (Solids): The scene.
        surface (Surface): What each pixel shows.
        focal (float): Focal length in pixels.

    Returns:
        Paint: Flattened like ``surface``.
    """
    made_of = solids.materials
    pattern = np.array([x.pattern for x in made_of], np.uint8)
    # One row per number, so that a gather along the last axis reads contiguous memory.
    rows = np.array(
        [(*x.scale, x.offset, *x.params, *x.color, *x.color2, x.emission) for x in made_of],
        np.float32,
    ).T
    ids = surface.index
    albedo = np.empty((3, ids.size), np.float32)
    noise_out = np.empty(ids.size, np.float32)
    patterns = pattern.take(ids)
    pixel = surface.depth * np.float32(1 / focal)
    for code in np.flatnonzero(np.bincount(patterns, minlength=len(_PATTERNS))).tolist():
        at = np.flatnonzero(patterns == code)
        own = ids[at]
        numbers = rows.take(own, axis=1)
        u, v = surface.uv.take(at, axis=1)
        x, y = u * numbers[0] + numbers[2], v * numbers[1] + numbers[2]
        half = solids.half.T.take(own, axis=1)
        patch = Patch(
            u=u,
            v=v,
            a=surface.local[0][at] / half[0],
            b=surface.local[1][at] / half[1],
            face=surface.face[at],
            noise=value_noise(x, y),
            grain=value_noise(2.7 * x + 17, 2.7 * y + 5),
            first=numbers[3],
            second=numbers[4],
            seed=numbers[2],
            color=numbers[5:8],
            color2=numbers[8:11],
            pixel=pixel[at],
        )
        noise_out[at] = patch.noise
        albedo[:, at] = _PATTERNS[code](patch)
    emission = rows[11].take(ids)
    return Paint(albedo, emission, _glass(solids, surface, patterns), noise_out)


def _glass(solids: Solids, surface: Surface, patterns: Array) -> Array:
    """Panes and screens without their frames."""
    glass = np.zeros(patterns.size, bool)
    at = np.flatnonzero(((patterns == m.PANE) | (patterns == m.SCREEN)) & (surface.face == 2))
    if at.size:
        half = solids.half.T.take(surface.index[at], axis=1)
        inside = np.abs(surface.local.take(at, axis=1)) < 0.92 * half
        glass[at] = inside[0] & inside[1]
    return glass
