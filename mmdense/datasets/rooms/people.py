"""People from capsules and ellipsoids, standing or sitting."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .constants import HEAD, LOWER_ARM, LOWER_LEG, TORSO, UPPER_ARM, UPPER_LEG
from .dice import Dice
from .materials import Material, fabric, plain
from .primitives import Pen, Vec3


@dataclass(frozen=True)
class _Clothes:
    skin: Material
    hair: Material
    shirt: Material
    trousers: Material
    shoes: Material
    bare_arms: bool


def _dress(dice: Dice) -> _Clothes:
    skin = dice.color((0.04, 0.09), (0.3, 0.6), (0.4, 0.95))
    return _Clothes(
        skin=plain(dice, skin),
        hair=plain(dice, dice.color((0.03, 0.13), (0.2, 0.7), (0.08, 0.65)), 40.0),
        shirt=fabric(dice, dice.color((0, 1), (0.2, 0.95), (0.3, 0.95)), 0.35),
        trousers=fabric(dice, dice.color((0.5, 0.75), (0.1, 0.6), (0.12, 0.5)), 0.05),
        shoes=plain(dice, dice.color((0, 1), (0.0, 0.7), (0.08, 0.8))),
        bare_arms=dice.chance(0.5),
    )


def _along(start: Vec3, length: float, pitch: float, spread: float) -> Vec3:
    """The end of a limb: hanging at pitch 0, forward at pi/2; ``spread`` leans it outwards."""
    down = -math.cos(pitch) * math.cos(spread)
    return (
        start[0] + length * math.sin(spread),
        start[1] + length * down,
        start[2] + length * math.sin(pitch) * math.cos(spread),
    )


def draw_person(pen: Pen, dice: Dice, height: float, seat: float | None) -> None:
    """Draw a person at the origin of the pen's frame, facing its z.

    Args:
        pen (Pen): Draws the instance; every solid gets its human part.
        dice (Dice): Clothes and pose.
        height (float): Stature when standing, metres.
        seat (float | None): Height of the seat that the person sits on, the hips above the
            origin; None: standing.
    """
    clothes = _dress(dice)
    hips = 0.53 * height if seat is None else seat + 0.06 * height
    for side in (-1, 1):
        _draw_leg(pen, dice, clothes, height, hips, side, seat is not None)
        _draw_arm(pen, dice, clothes, height, hips, side, seat is not None)
    _draw_trunk(pen, clothes, height, hips)
    _draw_head(pen, dice, clothes, height, hips)


def _draw_trunk(pen: Pen, clothes: _Clothes, h: float, hips: float) -> None:
    """Pelvis, belly and chest."""
    pen.capsule((-0.045 * h, hips, 0), (0.045 * h, hips, 0), 0.058 * h, clothes.trousers, TORSO)
    pen.ellipsoid((0, hips + 0.14 * h, 0), (0.185 * h, 0.28 * h, 0.125 * h), clothes.shirt, TORSO)
    pen.ellipsoid((0, hips + 0.22 * h, 0), (0.22 * h, 0.2 * h, 0.13 * h), clothes.shirt, TORSO)
    shoulder = hips + 0.285 * h
    pen.capsule((-0.09 * h, shoulder, 0), (0.09 * h, shoulder, 0), 0.034 * h, clothes.shirt, TORSO)


def _draw_head(pen: Pen, dice: Dice, clothes: _Clothes, h: float, hips: float) -> None:
    """Neck, face and hair."""
    top = hips + 0.47 * h
    pen.capsule((0, hips + 0.3 * h, 0), (0, top - 0.08 * h, 0), 0.03 * h, clothes.skin, HEAD)
    face = (0.09 * h, 0.135 * h, 0.11 * h)
    pen.ellipsoid((0, top - 0.07 * h, 0.005 * h), face, clothes.skin, HEAD)
    pen.ellipsoid(
        (0, top - 0.045 * h, -0.012 * h), (0.1 * h, 0.105 * h, 0.115 * h), clothes.hair, HEAD
    )
    if dice.chance(0.4):
        pen.ellipsoid(
            (0, top - 0.11 * h, -0.045 * h), (0.1 * h, 0.19 * h, 0.05 * h), clothes.hair, HEAD
        )


def _draw_arm(
    pen: Pen, dice: Dice, clothes: _Clothes, h: float, hips: float, side: int, sitting: bool
) -> None:
    """Upper arm, lower arm and hand; the hand belongs to the lower arm."""
    shoulder = (side * 0.112 * h, hips + 0.28 * h, 0.0)
    raised = dice.chance(0.12)
    pitch = dice.uniform(1.2, 2.4) if raised else dice.uniform(-0.35, 0.6)
    spread = side * dice.uniform(0.08, 0.45)
    bend = dice.uniform(0.6, 1.3) if sitting else dice.uniform(0.05, 1.2)
    elbow = _along(shoulder, 0.165 * h, pitch, spread)
    wrist = _along(elbow, 0.145 * h, pitch + bend, spread * 0.3)
    hand = _along(wrist, 0.04 * h, pitch + bend, spread * 0.3)
    pen.capsule(shoulder, elbow, 0.027 * h, clothes.shirt, UPPER_ARM)
    sleeve = clothes.skin if clothes.bare_arms else clothes.shirt
    pen.capsule(elbow, wrist, 0.021 * h, sleeve, LOWER_ARM)
    pen.ellipsoid(hand, (0.042 * h, 0.05 * h, 0.045 * h), clothes.skin, LOWER_ARM)


def _draw_leg(
    pen: Pen, dice: Dice, clothes: _Clothes, h: float, hips: float, side: int, sitting: bool
) -> None:
    """Upper leg, lower leg and foot; the foot belongs to the lower leg."""
    hip = (side * 0.05 * h, hips, 0.0)
    ankle_height = 0.045 * h
    if sitting:
        knee = (side * dice.uniform(0.05, 0.1) * h, hips - 0.005 * h, 0.25 * h)
        ankle = (knee[0], ankle_height, knee[2] + dice.uniform(-0.04, 0.08) * h)
    else:
        stride = dice.uniform(-0.3, 0.3)
        knee = _along(hip, 0.245 * h, stride + 0.08, side * 0.03)
        reach = math.sqrt(max((0.25 * h) ** 2 - (knee[1] - ankle_height) ** 2, 0.0))
        ankle = (knee[0], ankle_height, knee[2] - min(reach, 0.1 * h))
    pen.capsule(hip, knee, 0.042 * h, clothes.trousers, UPPER_LEG)
    pen.capsule(knee, ankle, 0.031 * h, clothes.trousers, LOWER_LEG)
    foot = (ankle[0], 0.024 * h, ankle[2] + 0.035 * h)
    pen.ellipsoid(foot, (0.06 * h, 0.048 * h, 0.15 * h), clothes.shoes, LOWER_LEG)
