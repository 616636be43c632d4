"""Sampling of furnished rooms. Nothing here knows the size of a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from . import constants as c
from . import materials as m
from .camera import Camera
from .dice import SCENE_STREAM, Dice, make_rng
from .furniture import PIECES, Studio, draw_tv
from .layout import FloorPlan, footprint
from .materials import Material, fabric, floor_cover, panels, plain, wall_cover, wood
from .people import draw_person
from .primitives import Frame, Pen, Solids, Vec3
from .shading import Light, Shadow
from .things import ON_FLOOR, furnish_tops, glow


@dataclass
class Scene:
    """A furnished room with its cameras.

    Attributes:
        solids: All primitives; the first six are floor, ceiling and walls.
        room: Half width, height and half length, metres.
        cameras: The first and the second view.
        light: Light and exposure.
        shadows: Contact shadows on the floor.
        foreground: Instance ids that may be salient.
        people: Instance ids of people.
    """

    solids: Solids
    room: Vec3
    cameras: tuple[Camera, Camera]
    light: Light
    shadows: list[Shadow]
    foreground: list[int]
    people: list[int]


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


def sample_scene(seed: int, split: int, index: int) -> Scene:
    """The scene of (seed, split, index), always the same."""
    dice = Dice(make_rng(SCENE_STREAM, seed, split, index))
    room = (dice.uniform(1.7, 3.3), dice.uniform(2.35, 2.75), dice.uniform(1.8, 3.4))
    cameras = _sample_cameras(dice, room)
    plan = FloorPlan((room[0], room[2]), cameras[0], cameras[1].position)
    studio = Studio(dice, [], [], 0, [], [])
    _draw_room(studio, plan, room)
    _draw_openings(studio, plan, room)
    shadows = _furnish(studio, plan, room[1])
    furnish_tops(studio)
    _hang_pictures(studio, plan)
    return Scene(
        Solids(studio.primitives),
        room,
        cameras,
        _sample_light(dice, room),
        shadows,
        studio.foreground,
        studio.people,
    )


def _sample_cameras(dice: Dice, room: Vec3) -> tuple[Camera, Camera]:
    """A camera near the +z wall that looks across the room, and one beside it."""
    hx, _, hz = room
    x = dice.uniform(-0.75, 0.75) * hx
    z = hz - dice.uniform(0.25, 0.8)
    position = (x, dice.uniform(1.3, 1.7), z)
    aim_x, aim_z = dice.uniform(-0.55, 0.55) * hx, dice.uniform(-0.9, -0.1) * hz
    yaw = math.atan2(x - aim_x, z - aim_z) + dice.uniform(-0.1, 0.1)
    first = Camera(
        position, yaw, math.radians(dice.uniform(-18, 3)), math.radians(dice.uniform(-2, 2))
    )
    # The second camera: a hand's breadth to a step aside, kept inside the room.
    side, ahead = dice.sign() * dice.uniform(0.08, 0.25), dice.uniform(-0.05, 0.15)
    step_x = side * math.cos(yaw) - ahead * math.sin(yaw)
    step_z = -side * math.sin(yaw) - ahead * math.cos(yaw)
    second = Camera(
        (
            min(max(x + step_x, 0.15 - hx), hx - 0.15),
            position[1] + dice.uniform(-0.08, 0.08),
            min(z + step_z, hz - 0.15),
        ),
        yaw + side * dice.uniform(0.0, 0.4),
        first.pitch + math.radians(dice.uniform(-2, 2)),
        math.radians(dice.uniform(-2, 2)),
        zoom=dice.uniform(0.95, 1.06),
        shift=(dice.uniform(-0.02, 0.02), dice.uniform(-0.02, 0.02)),
    )
    return first, second


def _draw_room(studio: Studio, plan: FloorPlan, room: Vec3) -> None:
    """Floor, ceiling and four walls: boxes without thickness whose z is the inward normal."""
    dice = studio.dice
    hx, height, hz = room
    up = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0, 0.0)
    down = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0)
    ceiling = plain(dice, dice.color((0.05, 0.2), (0.0, 0.06), (0.88, 1.0)), 1.0)
    # Slightly larger than the room, so that no ray slips through a corner.
    width, length = 2 * hx + 0.1, 2 * hz + 0.1
    flats = [
        (c.FLOOR, (0.0, 0.0, 0.0), (width, length), up, floor_cover(dice)),
        (c.CEILING, (0.0, height, 0.0), (width, length), down, ceiling),
    ]
    cover = wall_cover(dice)
    other = wall_cover(dice) if dice.chance(0.25) else cover
    for i, wall in enumerate(plan.walls):
        frame = wall.frame(0.0, 0.0, height / 2)
        paper = (other if i == 0 else cover).elsewhere(dice)
        size = (wall.length + 0.1, height + 0.1)
        flats.append((c.WALL, (frame.x, frame.y, frame.z), size, frame.rotation, paper))
    for label, center, size, rotation, material in flats:
        pen = studio.pen(Frame(*center), label, foreground=False)
        pen.flat(*size, rotation, material)


def _draw_openings(studio: Studio, plan: FloorPlan, room: Vec3) -> None:
    """Windows with or without curtains, and a door."""
    dice, height = studio.dice, room[1]
    for _ in range(dice.pick((0, 1, 1, 1, 2))):
        w, h = dice.uniform(0.9, 1.9), dice.uniform(1.0, 1.35)
        bottom = min(dice.uniform(0.75, 1.0), height - h - 0.15)
        curtain = dice.uniform(0.25, 0.4) if dice.chance(0.45) else 0.0
        frame = plan.hang(dice, w + 1.2 * curtain, h, bottom, 0.06)
        if frame is not None:
            _draw_window(studio, frame, (w, h), curtain)
    if dice.chance(0.45):
        frame = plan.hang(dice, 0.95, 2.05, 0.0, 0.04)
        if frame is not None:
            pen = studio.pen(frame, c.WALL, foreground=False)
            pen.box((0, 0, 0), (0.83, 2.05, 0.05), panels(dice, 1, dice.integer(1, 2)))
            trim = plain(dice, dice.color((0.08, 0.12), (0.0, 0.3), (0.5, 0.95)))
            for side in (-0.445, 0.445):
                pen.box((side, 0, 0), (0.06, 2.05, 0.07), trim)
            pen.box((0, 1.05, 0), (0.95, 0.06, 0.07), trim)


def _draw_window(studio: Studio, frame: Frame, size: tuple[float, float], curtain: float) -> None:
    dice, (w, h) = studio.dice, size
    pen = studio.pen(frame, c.WINDOW, foreground=False)
    white = dice.color((0.08, 0.12), (0.0, 0.2), (0.75, 1.0))
    params = (dice.uniform(0.05, 0.4), float(dice.chance(0.5)))
    pane = Material(m.PANE, white, white, (3.0, 3.0), dice.uniform(0, 64), params, 0.9)
    pen.box((0, 0, 0), (w, h, 0.06), pane)
    if curtain:
        cloth = fabric(dice, dice.color((0, 1), (0.05, 0.6), (0.55, 0.95)), 0.4)
        for side in (-1, 1):
            for fold in range(3):
                x = side * (w / 2 + (fold - 1.2) * curtain / 3)
                pen.cylinder((x, -0.04, 0.05), curtain / 3 + 0.04, h + 0.16, cloth)


def _furnish(studio: Studio, plan: FloorPlan, ceiling: float) -> list[Shadow]:
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
        frame = plan.place_on_floor(dice, width, width, 1.1)
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
        if seats and dice.chance(0.45):
            frame, size, seat = seats.pop(dice.integer(0, len(seats) - 1))
            reach = size[0] / 2 - 0.45
            x = dice.uniform(-reach, reach) if reach > 0 else 0.0
            # Bottom on the front edge, legs in front of the seat.
            place = frame.moved(x=x, z=size[2] / 2 - 0.16)
            legs = footprint(place.moved(z=0.4), 0.35, 0.3)
            if plan.free(legs, 0.0) and plan.clear_of_camera(legs, 0.7):
                plan.taken.append(legs)
                _draw_one(studio, place, height, seat)
            continue
        frame = plan.place_on_floor(dice, 0.62, 0.5, 1.5, 16)
        if frame is not None:
            turned = replace(frame).moved(turn=dice.uniform(-math.pi, math.pi))
            _draw_one(studio, turned, height, None)
            shadows.append(Shadow(frame.x, frame.z, 0.1, 0.1, 0.45))
    return shadows


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


def _hang_pictures(studio: Studio, plan: FloorPlan) -> None:
    """Pictures where walls are free, a wall television if there is none on a stand."""
    dice = studio.dice
    if dice.chance(0.5) and not any(p.label == c.TV for p in studio.primitives):
        w = dice.uniform(0.9, 1.35)
        frame = plan.hang(dice, w, 0.58 * w, dice.uniform(0.95, 1.15), 0.06)
        if frame is not None:
            draw_tv(studio, frame.moved(y=-0.29 * w), (w, 0.58 * w, 0.06))
    for _ in range(dice.integer(1, 3)):
        w, h = dice.uniform(0.4, 1.1), dice.uniform(0.4, 0.85)
        frame = plan.hang(dice, w, h, dice.uniform(1.15, 1.45), 0.03)
        if frame is None:
            continue
        pen = studio.pen(frame, c.PICTURE, foreground=False)
        trim = wood(dice).color if dice.chance(0.6) else dice.color((0, 1), (0, 0.2), (0.05, 0.95))
        mat = dice.uniform(0.15, 0.35) if dice.chance(0.4) else 0.0
        params = (dice.uniform(0, 1), mat)
        art = Material(m.ART, trim, trim, (1.0, 1.0), dice.uniform(0, 64), params)
        pen.box((0, 0, 0), (w, h, 0.03), art)


def _sample_light(dice: Dice, room: Vec3) -> Light:
    """A lamp under the ceiling, daylight from one side, and light from everywhere."""
    warm = dice.uniform(0.75, 1.0)
    lamp = dice.uniform(0.4, 1.0)
    sun = dice.uniform(0.05, 0.5)
    ambient = dice.uniform(0.3, 0.5)
    azimuth, height = dice.uniform(0, 2 * math.pi), dice.uniform(0.2, 0.6)
    flat = math.sqrt(1 - height * height)
    gain = dice.uniform(0.85, 1.2)
    tint = dice.uniform(-0.08, 0.08)
    return Light(
        lamp=(
            dice.uniform(-0.3, 0.3) * room[0],
            room[1] - 0.35,
            dice.uniform(-0.3, 0.5) * room[2],
        ),
        lamp_color=(lamp, lamp * (0.5 + 0.5 * warm), lamp * warm),
        sun=(flat * math.cos(azimuth), height, flat * math.sin(azimuth)),
        sun_color=(0.92 * sun, 0.97 * sun, sun),
        ambient=(ambient, ambient, ambient),
        balance=(gain * (1 + tint), gain, gain * (1 - tint)),
        grain=dice.uniform(0.008, 0.028),
    )
