"""What surfaces are made of: a pattern, two colours and a few numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .dice import Color, Dice

#: Patterns, evaluated by :mod:`.textures`.
(
    PLAIN,
    WOOD,
    PLANKS,
    TILES,
    CARPET,
    FABRIC,
    STRIPES,
    PLAID,
    SPINES,
    ART,
    PANE,
    SCREEN,
    PANELS,
    LEAVES,
    GLOW,
) = range(15)


@dataclass(frozen=True)
class Material:
    """A procedural surface.

    Attributes:
        pattern: One of the patterns above.
        color, color2: Linear RGB in [0, 1]; what they colour is the pattern's affair.
        scale: Noise cells per metre along the two surface coordinates.
        offset: Where in the noise the surface lies, lattice cells; also seeds the pattern.
        params: Two numbers that the pattern interprets.
        emission: Share of the colour that shines by itself, [0, 1].
    """

    pattern: int
    color: Color
    color2: Color
    scale: tuple[float, float] = (4.0, 4.0)
    offset: float = 0.0
    params: tuple[float, float] = (0.0, 0.0)
    emission: float = 0.0

    def elsewhere(self, dice: Dice) -> Material:
        """The same material from another place of the noise."""
        return replace(self, offset=dice.uniform(0, 64))


def plain(dice: Dice, color: Color, scale: float = 3.0) -> Material:
    """Paint, plastic, skin: one colour with faint clouds."""
    return Material(PLAIN, color, color, (scale, scale), dice.uniform(0, 64))


def wood(dice: Dice, dark: float = 0.4) -> Material:
    """Wood with its grain along the first surface coordinate; dark with a probability."""
    value = (0.3, 0.5) if dice.chance(dark) else (0.55, 0.9)
    color = dice.color((0.05, 0.1), (0.35, 0.65), value)
    factor = dice.uniform(0.45, 0.75)
    color2 = (color[0] * factor, color[1] * factor, color[2] * factor)
    return Material(WOOD, color, color2, (1.5, 22.0), dice.uniform(0, 64))


def fabric(dice: Dice, color: Color | None = None, patterned: float = 0.3) -> Material:
    """Cloth: plain weave, or with probability ``patterned`` stripes or checks."""
    color = dice.color((0, 1), (0.15, 0.8), (0.3, 0.85)) if color is None else color
    offset = dice.uniform(0, 64)
    if dice.chance(patterned):
        pattern = dice.pick((STRIPES, PLAID))
        color2 = dice.color((0, 1), (0.0, 0.6), (0.4, 0.95))
        period = dice.uniform(5, 16)
        params = (period, dice.uniform(0.3, 0.6))
        return Material(pattern, color, color2, (60.0, 60.0), offset, params)
    shade = dice.uniform(0.6, 0.85)
    color2 = (color[0] * shade, color[1] * shade, color[2] * shade)
    return Material(FABRIC, color, color2, (70.0, 70.0), offset)


def floor_cover(dice: Dice) -> Material:
    """Planks, tiles or carpet."""
    kind = dice.pick((PLANKS, PLANKS, TILES, CARPET))
    offset = dice.uniform(0, 64)
    if kind == PLANKS:
        base = wood(dice)
        size = (dice.uniform(0.09, 0.2), dice.uniform(0.7, 1.6))
        return Material(PLANKS, base.color, base.color2, (2.0, 30.0), offset, size)
    if kind == TILES:
        color = dice.color((0.04, 0.14), (0.02, 0.25), (0.5, 0.85))
        grout = dice.color((0.08, 0.12), (0.0, 0.1), (0.3, 0.55))
        side = dice.uniform(0.25, 0.6)
        return Material(TILES, color, grout, (5.0, 5.0), offset, (side, 0.0))
    color = dice.color((0, 1), (0.08, 0.35), (0.35, 0.65))
    shade = dice.uniform(0.7, 0.9)
    color2 = (color[0] * shade, color[1] * shade, color[2] * shade)
    return Material(CARPET, color, color2, (45.0, 45.0), offset)


def wall_cover(dice: Dice) -> Material:
    """Pale paint, sometimes striped wallpaper."""
    color = dice.color((0, 1), (0.02, 0.22), (0.72, 0.95))
    offset = dice.uniform(0, 64)
    if dice.chance(0.2):
        shade = dice.uniform(0.8, 0.92)
        color2 = (color[0] * shade, color[1] * shade, color[2] * shade)
        params = (dice.uniform(2.5, 7), 0.5)
        return Material(STRIPES, color, color2, (3.0, 3.0), offset, params)
    return Material(PLAIN, color, color, (1.5, 1.5), offset)


def spines(dice: Dice) -> Material:
    """A row of books seen from the front: upright spines of random colours."""
    paper = dice.color((0.1, 0.14), (0.05, 0.2), (0.75, 0.9))
    params = (dice.uniform(0.022, 0.045), dice.uniform(0.0, 1.0))
    return Material(SPINES, paper, paper, (10.0, 10.0), dice.uniform(0, 64), params)


def panels(dice: Dice, columns: int, rows: int) -> Material:
    """The front of a cabinet or door: panels with seams and handles."""
    offset = dice.uniform(0, 64)
    if dice.chance(0.3):
        color = dice.color((0.05, 0.65), (0.0, 0.12), (0.7, 0.92))
        color2 = (color[0] * 0.9, color[1] * 0.9, color[2] * 0.9)
    else:
        base = wood(dice, 0.75)
        color, color2 = base.color, base.color2
    return Material(PANELS, color, color2, (1.5, 20.0), offset, (float(columns), float(rows)))
