"""What stands in a room: furniture, people, things on the floor."""

from __future__ import annotations

import math

from . import constants as c
from .dice import Dice
from .furniture import PIECES, Studio
from .layout import FloorPlan, footprint
from .materials import fabric, plain
from .people import draw_person
from .primitives import Frame, Pen, Vec3
from .shading import Shadow
from .things import ON_FLOOR, glow

#: Pieces that stand at walls with the chance that a room wants them.
_WISHES = (
    ('bed', 0.55),
    ('sofa', 0.62),
    ('shelf', 0.75),
    ('tv_stand', 0.6),
    ('cabinet', 0.3),
    ('wardrobe', 0.3),
    ('desk', 0.4),
    ('armchair', 0.2),
    ('nightstand', 0.2),
)


def furnish(studio: Studio, plan: FloorPlan, ceiling: float) -> list[Shadow]:
    """All furniture, people and things on the floor; returns their contact shadows."""
    dice, shadows = studio.dice, []
    seats: list[tuple[Frame, Vec3, float]] = []
    for name, probability in dice.shuffled(_WISHES):
        if not dice.chance(probability):
            continue
        size = PIECES[name].size(dice)
        front = 0.75 if name == 'desk' else 0.0
        frame = plan.place_at_wall(dice, size, front=front)
        if frame is None:
            continue
        shadows.append(_draw_piece(studio, name, frame, size))
        if name in ('sofa', 'armchair', 'bed'):
            seats.append((frame, size, 0.45 if name != 'bed' else 0.54))
        if name == 'desk':
            chair = frame.moved(z=size[2] / 2 + 0.12, turn=math.pi + dice.uniform(-0.4, 0.4))
            shadows += _draw_chair(studio, plan, chair)
        if name == 'sofa' and dice.chance(0.7):
            shadows += _draw_coffee_table(studio, plan, frame, size)
    if dice.chance(0.5):
        shadows += _draw_dining_table(studio, plan)
    if dice.chance(0.35):
        frame = plan.place_on_floor(dice, 0.6, 0.6, 1.3)
        if frame is not None:
            shadows.append(_draw_piece(studio, 'chair', frame, PIECES['chair'].size(dice)))
    shadows += _draw_people(studio, plan, seats)
    for _ in range(dice.integer(0, 3)):
        width, draw = dice.pick(ON_FLOOR)
        frame = plan.place_on_floor(dice, width, width, 1.4)
        if frame is not None:
            draw(studio, frame)
            shadows.append(Shadow(frame.x, frame.z, width / 3, width / 3, 0.4))
    _draw_rug_and_lamp(studio, plan, ceiling)
    return shadows


def _draw_piece(studio: Studio, name: str, frame: Frame, size: Vec3) -> Shadow:
    piece = PIECES[name]
    piece.draw(studio, frame, size)
    x0, x1, z0, z1 = footprint(frame, size[0], size[2])
    return Shadow((x0 + x1) / 2, (z0 + z1) / 2, (x1 - x0) / 2, (z1 - z0) / 2, piece.weight)


def _draw_chair(studio: Studio, plan: FloorPlan, frame: Frame) -> list[Shadow]:
    """A chair at a table, if nothing else stands there."""
    size = PIECES['chair'].size(studio.dice)
    # The seat may reach under the table it belongs to, so only the back half must be free.
    back = frame.moved(z=-0.15)
    rect = footprint(back, 0.4, 0.3)
    if not plan.free(rect, 0.0) or not plan.clear_of_camera(rect, 0.7):
        return []
    plan.taken.append(rect)
    return [_draw_piece(studio, 'chair', frame, size)]


def _draw_coffee_table(
    studio: Studio, plan: FloorPlan, sofa: Frame, sofa_size: Vec3
) -> list[Shadow]:
    size = PIECES['coffee_table'].size(studio.dice)
    frame = sofa.moved(x=studio.dice.uniform(-0.3, 0.3), z=sofa_size[2] / 2 + 0.38 + size[2] / 2)
    rect = footprint(frame, size[0], size[2])
    if not plan.free(rect) or not plan.clear_of_camera(rect, 0.7):
        return []
    plan.taken.append(rect)
    return [_draw_piece(studio, 'coffee_table', frame, size)]


def _draw_dining_table(studio: Studio, plan: FloorPlan) -> list[Shadow]:
    """A table on free floor with chairs around it."""
    dice = studio.dice
    name = dice.pick(('table', 'round_table'))
    size = PIECES[name].size(dice)
    frame = plan.place_on_floor(dice, size[0] + 0.1, size[2] + 0.1, 1.3, 16)
    if frame is None:
        return []
    shadows = [_draw_piece(studio, name, frame, size)]
    sides = ((0.0, size[2] / 2), (math.pi / 2, size[0] / 2), (math.pi, size[2] / 2))
    for turn, reach in (*sides, (-math.pi / 2, size[0] / 2)):
        if dice.chance(0.6):
            out = reach + dice.uniform(0.12, 0.3)
            turned = frame.moved(turn=turn).moved(z=out, turn=math.pi + dice.uniform(-0.25, 0.25))
            shadows += _draw_chair(studio, plan, turned)
    return shadows


def _draw_people(
    studio: Studio, plan: FloorPlan, seats: list[tuple[Frame, Vec3, float]]
) -> list[Shadow]:
    """Nobody, one or two people: on a free seat, else standing on free floor."""
    dice, shadows = studio.dice, []
    for _ in range(dice.pick((0, 0, 1, 1, 1, 1, 2))):
        height = dice.uniform(1.5, 1.88) if dice.chance(0.85) else dice.uniform(1.05, 1.4)
        if seats and dice.chance(0.5):
            seat = seats.pop(dice.integer(0, len(seats) - 1))
            place = _find_seat(studio, plan, seat)
            if place is not None:
                _draw_one(studio, place, height, seat[2])
                continue
        spot = plan.place_on_floor(dice, 0.62, 0.5, 1.5, 16)
        if spot is not None:
            turned = spot.moved(turn=dice.uniform(-math.pi, math.pi))
            _draw_one(studio, turned, height, None)
            shadows.append(Shadow(spot.x, spot.z, 0.1, 0.1, 0.45))
    return shadows


def _find_seat(studio: Studio, plan: FloorPlan, seat: tuple[Frame, Vec3, float]) -> Frame | None:
    """Where on a sofa or bed somebody can sit, with the legs on free floor; takes that."""
    frame, size, _ = seat
    reach = max(size[0] / 2 - 0.45, 0.0)
    # The bottom on the front edge, the legs before it.
    place = frame.moved(x=studio.dice.uniform(-reach, reach), z=size[2] / 2 - 0.16)
    legs = footprint(place.moved(z=0.4), 0.35, 0.3)
    if not plan.free(legs, 0.0) or not plan.clear_of_camera(legs, 0.7):
        return None
    plan.taken.append(legs)
    return place


def _draw_one(studio: Studio, frame: Frame, height: float, seat: float | None) -> None:
    pen = studio.pen(frame, c.OBJECTS)
    studio.people.append(pen.instance)
    draw_person(pen, studio.dice, height, seat)


def _draw_rug_and_lamp(studio: Studio, plan: FloorPlan, ceiling: float) -> None:
    """A rug, and a lamp that hangs from the ceiling."""
    dice = studio.dice
    if dice.chance(0.4):
        x, z = dice.uniform(-0.4, 0.4) * plan.half[0], dice.uniform(-0.5, 0.2) * plan.half[1]
        w, d = dice.uniform(0.5, 0.8) * plan.half[0], dice.uniform(0.4, 0.7) * plan.half[1]
        pen = studio.pen(Frame(x, 0.0, z), c.FLOOR, foreground=False)
        pen.box((0, 0.005, 0), (2 * w, 0.01, 2 * d), fabric(dice, patterned=0.6))
    if dice.chance(0.5):
        x, z = dice.uniform(-0.3, 0.3) * plan.half[0], dice.uniform(-0.6, 0.1) * plan.half[1]
        _draw_ceiling_lamp(studio.pen(Frame(x, ceiling, z), c.OBJECTS, foreground=False), dice)


def _draw_ceiling_lamp(pen: Pen, dice: Dice) -> None:
    drop = dice.uniform(0.1, 0.45)
    metal = plain(dice, (0.03, 0.03, 0.03))
    pen.cylinder((0, -drop / 2, 0), 0.03, drop, metal)
    width = dice.uniform(0.3, 0.5)
    if dice.chance(0.5):
        pen.ellipsoid((0, -drop - 0.08, 0), (width, 0.6 * width, width), glow(dice))
    else:
        pen.cylinder((0, -drop, 0), width, 0.2, glow(dice))
