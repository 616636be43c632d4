"""Furniture: how large each piece is, and how it is drawn.

A piece is drawn in its own frame: the origin on the floor in the middle of its footprint,
x along its width, z towards its front.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import constants as c
from . import materials as m
from .dice import Dice
from .materials import Material, fabric, panels, plain, spines, wood
from .primitives import Frame, Pen, Primitive, Vec3


@dataclass(frozen=True)
class Support:
    """A horizontal top on which small things may stand.

    Attributes:
        frame: Frame of the piece.
        height: Of the top above the frame's origin, metres.
        size: Usable width and depth, metres.
        headroom: Free height above the top, metres.
    """

    frame: Frame
    height: float
    size: tuple[float, float]
    headroom: float = 3.0


@dataclass
class Studio:
    """Where scenes are drawn: hands out pens and collects what they draw.

    Attributes:
        dice: Source of all choices.
        primitives: Everything drawn so far.
        supports: Tops for small things.
        instances: Instance ids given out so far.
        foreground: Ids that may be salient (no part of the room, nothing hung on it).
        people: Ids of people.
    """

    dice: Dice
    primitives: list[Primitive]
    supports: list[Support]
    instances: int
    foreground: list[int]
    people: list[int]

    def pen(self, frame: Frame, label: int, foreground: bool = True) -> Pen:
        """A pen for a new instance."""
        self.instances += 1
        if foreground:
            self.foreground.append(self.instances)
        return Pen(self.primitives, frame, label, self.instances)


@dataclass(frozen=True)
class Piece:
    """A kind of furniture.

    Attributes:
        size: Draws width, height and depth in metres.
        draw: Draws the piece of that size.
        weight: Darkness of its contact shadow, [0, 1].
    """

    size: Callable[[Dice], Vec3]
    draw: Callable[[Studio, Frame, Vec3], None]
    weight: float = 0.5


def _legs(pen: Pen, size: Vec3, height: float, thick: float, material: Material) -> None:
    x, z = size[0] / 2 - thick, size[2] / 2 - thick
    for sx in (-x, x):
        for sz in (-z, z):
            pen.box((sx, height / 2, sz), (thick, height, thick), material)


def draw_bed(studio: Studio, frame: Frame, size: Vec3) -> None:
    """Frame, mattress, blanket, headboard, pillows; the head is at the back."""
    dice, (w, h, d) = studio.dice, size
    pen = studio.pen(frame, c.BED)
    timber, sheet = wood(dice), plain(dice, dice.color((0, 1), (0.0, 0.15), (0.8, 0.97)))
    # Like most materials here: usual for the class, but not always, and not for it alone.
    blue = dice.color((0.48, 0.7), (0.3, 0.85), (0.3, 0.85)) if dice.chance(0.7) else None
    blanket = fabric(dice, blue, patterned=0.5)
    top = dice.uniform(0.48, 0.58)
    pen.box((0, top * 0.3, 0), (w, top * 0.6, d), timber)
    pen.box((0, top * 0.75, 0.02), (w - 0.06, top * 0.5, d - 0.06), sheet)
    length = d * dice.uniform(0.55, 0.75)
    pen.box((0, top * 0.78, d / 2 - length / 2), (w, top * 0.52, length), blanket)
    pen.box((0, h / 2, -d / 2 + 0.03), (w, h, 0.06), timber.elsewhere(dice))
    count = 2 if w > 1.3 else 1
    cushion = sheet if dice.chance(0.6) else fabric(dice)
    for i in range(count):
        x = (i - (count - 1) / 2) * w / count
        pen.ellipsoid(
            (x, top + 0.07, -d / 2 + 0.28), (0.75 * w / count, 0.2, 0.42), cushion.elsewhere(dice)
        )


def draw_sofa(studio: Studio, frame: Frame, size: Vec3) -> None:
    """Base, back, arms and seat cushions; also armchairs."""
    dice, (w, h, d) = studio.dice, size
    pen = studio.pen(frame, c.SOFA)
    hue = dice.pick(((0.22, 0.45), (0.82, 1.0), (0.0, 1.0)))
    cloth = fabric(dice, dice.color(hue, (0.25, 0.85), (0.25, 0.75)), 0.1)
    seat, arm = dice.uniform(0.4, 0.46), dice.uniform(0.14, 0.22)
    pen.box((0, seat * 0.36, 0), (w, seat * 0.6, d), cloth)
    pen.box((0, 0.06 + h / 2, -d / 2 + 0.11), (w - 0.02, h - 0.12, 0.2), cloth)
    arm_height = dice.uniform(0.56, 0.66)
    for side in (-1, 1):
        x = side * (w / 2 - arm / 2)
        pen.box((x, arm_height / 2, 0), (arm, arm_height, d), cloth.elsewhere(dice))
    inner = w - 2 * arm
    count = max(1, round(inner / 0.65))
    for i in range(count):
        x = (i - (count - 1) / 2) * inner / count
        width = inner / count - 0.015
        pen.box((x, seat - 0.07, 0.1), (width, 0.16, d - 0.22), cloth.elsewhere(dice))
        pen.box((x, seat + 0.2, -d / 2 + 0.27), (width, 0.4, 0.14), cloth.elsewhere(dice))
    if dice.chance(0.6):
        pillow = fabric(dice)
        x = dice.sign() * (inner / 2 - 0.22)
        pen.ellipsoid((x, seat + 0.2, -d / 2 + 0.42), (0.4, 0.38, 0.2), pillow)


def draw_chair(studio: Studio, frame: Frame, size: Vec3) -> None:
    """Seat, legs and a back of slats or one board."""
    dice, (w, h, d) = studio.dice, size
    pen = studio.pen(frame, c.CHAIR)
    hue = (0.98, 1.17) if dice.chance(0.7) else (0.0, 1.0)
    paint = plain(dice, dice.color(hue, (0.6, 0.95), (0.45, 0.95)))
    body = wood(dice) if dice.chance(0.3) else paint
    seat_cover = fabric(dice) if dice.chance(0.3) else paint
    seat, thick = 0.46, dice.uniform(0.03, 0.05)
    _legs(pen, size, seat, thick, body)
    pen.box((0, seat, 0), (w, dice.uniform(0.03, 0.07), d), seat_cover)
    x, z = w / 2 - thick, -d / 2 + thick
    for side in (-x, x):
        pen.box((side, (seat + h) / 2, z), (thick, h - seat, thick), body)
    if dice.chance(0.25):
        for share in (0.35, 0.65, 0.95):
            y = seat + share * (h - seat) - 0.04
            pen.box((0, y, z), (w - thick, 0.08, 0.02), body)
    else:
        pen.box((0, h - 0.2, z + 0.01), (w - thick, 0.4, 0.03), seat_cover.elsewhere(dice))


def draw_table(studio: Studio, frame: Frame, size: Vec3) -> None:
    """A top on four legs, or a round one on a column."""
    dice, (w, h, d) = studio.dice, size
    pen = studio.pen(frame, c.TABLE)
    top = wood(dice, 0.15)
    if dice.chance(0.3):
        top = plain(dice, dice.color((0.08, 0.6), (0.0, 0.1), (0.75, 0.95)))
    leg = top if dice.chance(0.6) else plain(dice, dice.color((0, 1), (0, 0.2), (0.05, 0.3)))
    thick = dice.uniform(0.03, 0.05)
    if abs(w - d) < 0.15 and dice.chance(0.6):
        pen.cylinder((0, h - thick / 2, 0), w, thick, top)
        pen.cylinder((0, h / 2, 0), 0.09, h - thick, leg)
        pen.cylinder((0, 0.015, 0), 0.5 * w, 0.03, leg)
        w, d = 0.65 * w, 0.65 * d
    else:
        pen.box((0, h - thick / 2, 0), (w, thick, d), top)
        _legs(pen, size, h - thick, dice.uniform(0.05, 0.08), leg)
        if dice.chance(0.5):
            pen.box((0, h - thick - 0.05, 0), (w - 0.14, 0.1, d - 0.14), leg)
    studio.supports.append(Support(frame, h, (w - 0.1, d - 0.1)))


def draw_cabinet(studio: Studio, frame: Frame, size: Vec3) -> None:
    """A closed body with panelled doors or drawers."""
    dice, (w, h, d) = studio.dice, size
    pen = studio.pen(frame, c.FURNITURE)
    if h > 1.3:
        front = panels(dice, max(1, round(w / 0.5)), 1 + dice.integer(0, 1))
    else:
        front = panels(dice, max(1, round(w / 0.6)), dice.integer(1, 3))
    pen.box((0, h / 2 + 0.03, 0), (w, h - 0.06, d), front)
    pen.box((0, 0.03, -0.02), (w - 0.06, 0.06, d - 0.04), plain(dice, (0.02, 0.02, 0.02)))
    pen.box((0, h - 0.01, 0), (w + 0.02, 0.02, d), front)
    if h < 1.3:
        studio.supports.append(Support(frame, h, (w - 0.1, d - 0.1)))


def draw_shelf(studio: Studio, frame: Frame, size: Vec3) -> None:
    """An open shelf; most boards carry books, some carry things."""
    dice, (w, h, d) = studio.dice, size
    pen = studio.pen(frame, c.FURNITURE)
    timber, thick = wood(dice, 0.6), 0.025
    for side in (-1, 1):
        pen.box((side * (w - thick) / 2, h / 2, 0), (thick, h, d), timber)
    pen.box((0, h / 2, -d / 2 + 0.01), (w, h, 0.02), timber.elsewhere(dice))
    count = max(2, round(h / dice.uniform(0.33, 0.42)))
    pitch = (h - 0.08) / count
    inner = w - 2 * thick
    for i in range(count + 1):
        y = 0.06 + i * pitch
        pen.box((0, y, 0), (inner, thick, d), timber)
        if i == count:
            break
        floor_height = y + thick / 2
        if dice.chance(0.85):
            _draw_books(studio, frame, floor_height, inner, pitch - thick, d)
        else:
            space = (inner * 0.8, d * 0.5)
            studio.supports.append(Support(frame, floor_height, space, pitch - thick))
    if h < 1.5:
        studio.supports.append(Support(frame, h, (inner * 0.9, d * 0.7)))


def _draw_books(
    studio: Studio, frame: Frame, y: float, width: float, room: float, depth: float
) -> None:
    """One or two rows of upright books on a board; a row is one instance."""
    dice = studio.dice
    end = -width / 2 + 0.005
    for _ in range(dice.integer(1, 2)):
        left = width / 2 - end
        if left < 0.15:
            break
        row = min(left - 0.005, dice.uniform(0.55, 1.0) * width)
        height = room * dice.uniform(0.75, 0.95)
        thick = min(depth - 0.05, dice.uniform(0.16, 0.23))
        pen = studio.pen(frame, c.BOOKS)
        z = depth / 2 - thick / 2 - 0.015
        pen.box((end + row / 2, y + height / 2, z), (row, height, thick), spines(dice))
        end += row + dice.uniform(0.0, 0.15)


def draw_tv(studio: Studio, frame: Frame, size: Vec3) -> None:
    """A flat screen; the frame's origin is the middle of its lower edge."""
    dice, (w, h, d) = studio.dice, size
    pen = studio.pen(frame, c.TV)
    color = dice.color((0.55, 0.7), (0.1, 0.5), (0.1, 0.22))
    on = dice.chance(0.2)
    screen = Material(
        m.SCREEN,
        color,
        color,
        (1.0, 1.0),
        dice.uniform(0, 64),
        (dice.uniform(0, 1), float(on)),
        0.8 if on else 0.0,
    )
    pen.box((0, h / 2, 0), (w, h, d), screen)


def draw_tv_stand(studio: Studio, frame: Frame, size: Vec3) -> None:
    """A low board with a television on it."""
    dice, (w, h, d) = studio.dice, size
    board = h - size_tv_height(w)
    low = (w, board, d)
    draw_cabinet(studio, frame, low)
    studio.supports.pop()
    tv = size_tv(w)
    draw_tv(studio, frame.moved(y=board + 0.06), tv)
    foot = Pen(studio.primitives, frame, c.TV, studio.instances)
    foot.box((0, board + 0.03, 0), (tv[0] * 0.25, 0.06, 0.16), plain(dice, (0.01, 0.01, 0.01)))


def size_tv(stand: float) -> Vec3:
    """A 16:9 screen for a stand of a width."""
    width = min(0.95 * stand, 1.45)
    return (width, width * 0.58, 0.045)


def size_tv_height(stand: float) -> float:
    """Height of screen and foot."""
    return size_tv(stand)[1] + 0.06


def _size_tv_stand(dice: Dice) -> Vec3:
    width = dice.uniform(1.1, 1.6)
    return (width, dice.uniform(0.42, 0.62) + size_tv_height(width), dice.uniform(0.36, 0.46))


def _box_size(
    width: tuple[float, float], height: tuple[float, float], depth: tuple[float, float]
) -> Callable[[Dice], Vec3]:
    return lambda dice: (dice.uniform(*width), dice.uniform(*height), dice.uniform(*depth))


PIECES: dict[str, Piece] = {
    'bed': Piece(_box_size((1.0, 1.8), (0.8, 1.15), (1.95, 2.1)), draw_bed, 0.55),
    'sofa': Piece(_box_size((1.5, 2.3), (0.8, 0.95), (0.85, 0.98)), draw_sofa, 0.55),
    'armchair': Piece(_box_size((0.82, 1.0), (0.8, 0.95), (0.8, 0.92)), draw_sofa, 0.55),
    'chair': Piece(_box_size((0.42, 0.5), (0.85, 1.02), (0.42, 0.5)), draw_chair, 0.25),
    'table': Piece(_box_size((1.0, 1.6), (0.71, 0.77), (0.75, 0.95)), draw_table, 0.3),
    'round_table': Piece(_box_size((0.9, 0.92), (0.71, 0.77), (0.9, 0.92)), draw_table, 0.3),
    'coffee_table': Piece(_box_size((0.8, 1.2), (0.36, 0.46), (0.5, 0.7)), draw_table, 0.35),
    'desk': Piece(_box_size((1.1, 1.6), (0.72, 0.77), (0.6, 0.75)), draw_table, 0.3),
    'shelf': Piece(_box_size((0.8, 1.5), (1.2, 2.15), (0.28, 0.36)), draw_shelf),
    'cabinet': Piece(_box_size((0.8, 1.5), (0.75, 1.05), (0.4, 0.5)), draw_cabinet),
    'wardrobe': Piece(_box_size((1.0, 1.7), (1.8, 2.15), (0.5, 0.62)), draw_cabinet),
    'nightstand': Piece(_box_size((0.4, 0.5), (0.45, 0.6), (0.36, 0.42)), draw_cabinet),
    'tv_stand': Piece(_size_tv_stand, draw_tv_stand),
}
