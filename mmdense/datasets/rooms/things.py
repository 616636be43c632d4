"""Small things on tables and floors: lamps, plants, crockery, balls, stacks of books."""

from __future__ import annotations

from collections.abc import Callable

from . import constants as c
from . import materials as m
from .dice import Dice
from .furniture import Studio
from .materials import Material, plain, spines, wood
from .primitives import Frame


def _gaudy(dice: Dice) -> Material:
    return plain(dice, dice.color((0, 1), (0.3, 0.95), (0.35, 0.95)))


def draw_mug(studio: Studio, frame: Frame) -> None:
    """A mug or a tin."""
    size = studio.dice.uniform(0.08, 0.12)
    studio.pen(frame, c.OBJECTS).cylinder((0, size / 2, 0), size * 0.8, size, _gaudy(studio.dice))


def draw_vase(studio: Studio, frame: Frame) -> None:
    """A belly and a neck."""
    pen, h = studio.pen(frame, c.OBJECTS), studio.dice.uniform(0.2, 0.36)
    clay = _gaudy(studio.dice)
    pen.ellipsoid((0, 0.36 * h, 0), (0.55 * h, 0.72 * h, 0.55 * h), clay)
    pen.cylinder((0, 0.75 * h, 0), 0.2 * h, 0.5 * h, clay)


def draw_bottle(studio: Studio, frame: Frame) -> None:
    """A bottle."""
    pen, h = studio.pen(frame, c.OBJECTS), studio.dice.uniform(0.24, 0.32)
    glass = plain(studio.dice, studio.dice.color((0.05, 0.5), (0.5, 0.9), (0.15, 0.6)))
    pen.cylinder((0, 0.32 * h, 0), 0.28 * h, 0.64 * h, glass)
    pen.cylinder((0, 0.8 * h, 0), 0.1 * h, 0.4 * h, glass)


def draw_bowl(studio: Studio, frame: Frame) -> None:
    """A bowl of fruit."""
    dice, pen = studio.dice, studio.pen(frame, c.OBJECTS)
    pen.ellipsoid((0, 0.04, 0), (0.28, 0.1, 0.28), _gaudy(dice))
    fruit = plain(dice, dice.color((-0.02, 0.3), (0.7, 0.95), (0.6, 0.95)))
    for x, z in ((-0.06, 0.02), (0.06, 0.03), (0.0, -0.06)):
        pen.ellipsoid((x, 0.1, z), (0.09, 0.09, 0.09), fruit)


def draw_carton(studio: Studio, frame: Frame) -> None:
    """A box."""
    dice = studio.dice
    w, h, d = dice.uniform(0.14, 0.3), dice.uniform(0.1, 0.24), dice.uniform(0.12, 0.22)
    studio.pen(frame, c.OBJECTS).box((0, h / 2, 0), (w, h, d), _gaudy(dice))


def draw_globe(studio: Studio, frame: Frame) -> None:
    """A sphere on a foot."""
    dice, pen = studio.dice, studio.pen(frame, c.OBJECTS)
    r = dice.uniform(0.08, 0.13)
    pen.cylinder((0, 0.02, 0), 1.2 * r, 0.04, wood(dice))
    pen.ellipsoid((0, 0.03 + r, 0), (2 * r, 2 * r, 2 * r), _gaudy(dice))


def draw_laptop(studio: Studio, frame: Frame) -> None:
    """An open laptop."""
    pen = studio.pen(frame, c.OBJECTS)
    shell = plain(studio.dice, studio.dice.color((0.5, 0.7), (0.0, 0.1), (0.25, 0.8)))
    pen.box((0, 0.01, 0), (0.33, 0.02, 0.23), shell)
    pen.box((0, 0.12, -0.12), (0.33, 0.22, 0.012), shell)


def draw_table_lamp(studio: Studio, frame: Frame) -> None:
    """Foot, stem and a glowing shade."""
    dice, pen = studio.dice, studio.pen(frame, c.OBJECTS)
    h = dice.uniform(0.35, 0.5)
    metal = plain(dice, dice.color((0.05, 0.15), (0.0, 0.5), (0.1, 0.6)))
    pen.cylinder((0, 0.015, 0), 0.14, 0.03, metal)
    pen.cylinder((0, 0.4 * h, 0), 0.025, 0.8 * h, metal)
    pen.cylinder((0, 0.8 * h, 0), dice.uniform(0.2, 0.28), 0.4 * h, glow(dice))


def draw_pot_plant(studio: Studio, frame: Frame) -> None:
    """A small plant."""
    _draw_plant(studio, frame, studio.dice.uniform(0.25, 0.42))


def draw_book_stack(studio: Studio, frame: Frame) -> None:
    """Books lying on each other."""
    dice, pen = studio.dice, studio.pen(frame, c.BOOKS)
    y = 0.0
    for _ in range(dice.integer(3, 7)):
        cover = plain(dice, dice.color((0, 1), (0.3, 0.9), (0.25, 0.85)))
        h = dice.uniform(0.025, 0.05)
        size = (dice.uniform(0.24, 0.32), h, dice.uniform(0.18, 0.23))
        pen.box((dice.uniform(-0.02, 0.02), y + h / 2, dice.uniform(-0.02, 0.02)), size, cover)
        y += h


def draw_book_row(studio: Studio, frame: Frame) -> None:
    """A short row of upright books."""
    dice = studio.dice
    w, h = dice.uniform(0.25, 0.5), dice.uniform(0.2, 0.28)
    studio.pen(frame, c.BOOKS).box((0, h / 2, 0), (w, h, 0.18), spines(dice))


def glow(dice: Dice) -> Material:
    """A lamp shade."""
    color = dice.color((0.08, 0.14), (0.1, 0.4), (0.9, 1.0))
    return Material(m.GLOW, color, color, (3.0, 3.0), dice.uniform(0, 64), emission=0.8)


def _draw_plant(studio: Studio, frame: Frame, h: float) -> None:
    dice, pen = studio.dice, studio.pen(frame, c.OBJECTS)
    green = dice.color((0.22, 0.4), (0.5, 0.85), (0.35, 0.7))
    dark = (green[0] * 0.3, green[1] * 0.4, green[2] * 0.3)
    leaf = Material(m.LEAVES, green, dark, (16.0, 16.0), dice.uniform(0, 64))
    pot = dice.uniform(0.25, 0.35) * h
    clay = plain(dice, dice.color((0.02, 0.1), (0.1, 0.7), (0.4, 0.8)))
    pen.cylinder((0, pot / 2, 0), 0.32 * h, pot, clay)
    for _ in range(dice.integer(3, 5)):
        x, z = dice.uniform(-0.12, 0.12) * h, dice.uniform(-0.12, 0.12) * h
        y = pot + dice.uniform(0.15, 0.5) * (h - pot)
        size = dice.uniform(0.28, 0.45) * h
        pen.ellipsoid((x, y, z), (size, 1.3 * size, size), leaf.elsewhere(dice))


def draw_floor_plant(studio: Studio, frame: Frame) -> None:
    """A plant that stands on the floor."""
    _draw_plant(studio, frame, studio.dice.uniform(0.8, 1.4))


def draw_floor_lamp(studio: Studio, frame: Frame) -> None:
    """A standard lamp."""
    dice, pen = studio.dice, studio.pen(frame, c.OBJECTS)
    h = dice.uniform(1.4, 1.7)
    metal = plain(dice, dice.color((0.05, 0.15), (0.0, 0.3), (0.08, 0.5)))
    pen.cylinder((0, 0.015, 0), 0.3, 0.03, metal)
    pen.cylinder((0, 0.45 * h, 0), 0.035, 0.9 * h, metal)
    pen.cylinder((0, 0.88 * h, 0), dice.uniform(0.34, 0.48), 0.24 * h, glow(dice))


def draw_ball(studio: Studio, frame: Frame) -> None:
    """A ball."""
    r = studio.dice.uniform(0.1, 0.28)
    pen = studio.pen(frame, c.OBJECTS)
    pen.ellipsoid((0, r, 0), (2 * r, 2 * r, 2 * r), _gaudy(studio.dice))


def draw_basket(studio: Studio, frame: Frame) -> None:
    """A basket."""
    dice, pen = studio.dice, studio.pen(frame, c.OBJECTS)
    straw = dice.color((0.06, 0.12), (0.2, 0.6), (0.4, 0.8))
    dark = (straw[0] * 0.5, straw[1] * 0.5, straw[2] * 0.5)
    woven = Material(m.FABRIC, straw, dark, (30.0, 30.0), dice.uniform(0, 64))
    h = dice.uniform(0.3, 0.5)
    pen.cylinder((0, h / 2, 0), dice.uniform(0.3, 0.44), h, woven)


def draw_crate(studio: Studio, frame: Frame) -> None:
    """A large carton or two."""
    dice, pen = studio.dice, studio.pen(frame, c.OBJECTS)
    w, h = dice.uniform(0.35, 0.55), dice.uniform(0.3, 0.45)
    brown = plain(dice, dice.color((0.06, 0.1), (0.3, 0.5), (0.5, 0.75)))
    pen.box((0, h / 2, 0), (w, h, 0.4), brown)
    pen.box((0, h / 2, 0), (0.05, h + 0.004, 0.404), plain(dice, (0.6, 0.55, 0.4)))


def draw_backpack(studio: Studio, frame: Frame) -> None:
    """A backpack."""
    dice, pen = studio.dice, studio.pen(frame, c.OBJECTS)
    cloth = _gaudy(dice)
    pen.ellipsoid((0, 0.23, 0), (0.34, 0.48, 0.22), cloth)
    pen.ellipsoid((0, 0.16, 0.09), (0.24, 0.26, 0.12), cloth)


Draw = Callable[[Studio, Frame], None]
#: Things on tops with the width they take and the most height they need, metres.
ON_TOP: tuple[tuple[float, float, Draw], ...] = (
    (0.12, 0.12, draw_mug),
    (0.24, 0.36, draw_vase),
    (0.14, 0.32, draw_bottle),
    (0.3, 0.15, draw_bowl),
    (0.34, 0.24, draw_carton),
    (0.28, 0.31, draw_globe),
    (0.36, 0.24, draw_laptop),
    (0.3, 0.5, draw_table_lamp),
    (0.3, 0.5, draw_pot_plant),
    (0.36, 0.35, draw_book_stack),
    (0.5, 0.28, draw_book_row),
)
#: Things on the floor with the width of their footprint, metres.
ON_FLOOR: tuple[tuple[float, Draw], ...] = (
    (0.6, draw_floor_plant),
    (0.5, draw_floor_lamp),
    (0.56, draw_ball),
    (0.46, draw_basket),
    (0.6, draw_crate),
    (0.4, draw_backpack),
)


def furnish_tops(studio: Studio) -> None:
    """Put small things side by side on every support."""
    dice = studio.dice
    for support in studio.supports:
        width, depth = support.size
        at = -width / 2
        for _ in range(5):
            at += dice.uniform(0.0, 0.25)
            space, height, draw = dice.pick(ON_TOP)
            if at + space > width / 2 or height > support.headroom:
                continue
            z = dice.uniform(-0.5, 0.5) * max(depth - 0.26, 0.0)
            turn = dice.uniform(-0.5, 0.5) if depth > 0.4 else 0.0
            draw(studio, support.frame.moved(at + space / 2, support.height, z, turn))
            at += space
