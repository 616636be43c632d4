"""Sampling of furnished rooms. Nothing here knows the size of a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

from . import constants as c
from . import materials as m
from .camera import Camera
from .dice import SCENE_STREAM, Dice, make_rng
from .furnishing import furnish
from .furniture import Studio, draw_tv
from .layout import FloorPlan
from .materials import Material, fabric, floor_cover, panels, plain, wall_cover, wood
from .primitives import Frame, Solids, Vec3
from .shading import Light, Shadow
from .things import furnish_tops


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


def sample_scene(seed: int, split: int, index: int) -> Scene:
    """The scene of (seed, split, index), always the same."""
    dice = Dice(make_rng(SCENE_STREAM, seed, split, index))
    room = (dice.uniform(1.7, 3.3), dice.uniform(2.35, 2.75), dice.uniform(1.8, 3.4))
    cameras = _sample_cameras(dice, room)
    plan = FloorPlan((room[0], room[2]), cameras[0], cameras[1].position)
    studio = Studio(dice, [], [], 0, [], [])
    _draw_room(studio, plan, room)
    _draw_openings(studio, plan, room)
    shadows = furnish(studio, plan, room[1])
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
    position = (x, dice.uniform(1.35, 1.65), z)
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
    flats: list[tuple[int, Vec3, tuple[float, float], tuple[float, ...], Material]] = [
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
