"""Where things go: free floor, free wall, and what the camera sees."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .camera import Camera
from .dice import Dice
from .primitives import Frame, Vec3


@dataclass(frozen=True)
class Wall:
    """One wall, seen from inside.

    Attributes:
        center: Its middle on the floor plan (x, z), metres.
        yaw: Heading of its inward normal (0 is world +z).
        length: Metres.
    """

    center: tuple[float, float]
    yaw: float
    length: float

    def frame(self, along: float, out: float, height: float = 0.0) -> Frame:
        """A frame ``along`` the wall from its middle, ``out`` of it, that faces the room."""
        base = Frame.at(self.center[0], 0.0, self.center[1], self.yaw)
        x, y, z = base.point((along, height, out))
        return Frame(x, y, z, base.cos, base.sin)


Rect = tuple[float, float, float, float]


@dataclass
class FloorPlan:
    """A room seen from above, with what is already taken.

    Attributes:
        half: Half extents of the room along x and z, metres.
        camera: The first camera.
        second: Position of the second camera.
        taken: Occupied rectangles (x0, x1, z0, z1).
        on_walls: Per wall, occupied rectangles (along0, along1, height0, height1).
    """

    half: tuple[float, float]
    camera: Camera
    second: Vec3
    taken: list[Rect] = field(default_factory=list)
    on_walls: list[list[Rect]] = field(default_factory=lambda: [[], [], [], []])

    @property
    def walls(self) -> tuple[Wall, ...]:
        """Far, left, right and near wall as the camera sees them."""
        x, z = self.half
        return (
            Wall((0, -z), 0.0, 2 * x),
            Wall((-x, 0), math.pi / 2, 2 * z),
            Wall((x, 0), -math.pi / 2, 2 * z),
            Wall((0, z), math.pi, 2 * x),
        )

    def seen(self, x: float, z: float, margin: float = 0.0) -> bool:
        """Whether the camera's heading is within its field of view (less ``margin`` radians)."""
        dx, dz = x - self.camera.position[0], z - self.camera.position[2]
        angle = math.atan2(-dx, -dz) - self.camera.yaw
        angle = (angle + math.pi) % (2 * math.pi) - math.pi
        return abs(angle) < 0.55 - margin

    def free(self, rect: Rect, gap: float = 0.04) -> bool:
        """Whether a rectangle is inside the room and touches nothing."""
        x0, x1, z0, z1 = rect
        hx, hz = self.half
        if x0 < -hx - 1e-6 or x1 > hx + 1e-6 or z0 < -hz - 1e-6 or z1 > hz + 1e-6:
            return False
        return not any(
            x0 < b1 + gap and x1 > b0 - gap and z0 < d1 + gap and z1 > d0 - gap
            for b0, b1, d0, d1 in self.taken
        )

    def clear_of_camera(self, rect: Rect, distance: float) -> bool:
        """Whether a rectangle leaves ``distance`` metres around both cameras."""
        x0, x1, z0, z1 = rect
        for px, _, pz in (self.camera.position, self.second):
            dx, dz = max(x0 - px, px - x1, 0.0), max(z0 - pz, pz - z1, 0.0)
            if dx * dx + dz * dz < distance * distance:
                return False
        return True

    def free_wall(self, wall: int, rect: Rect, gap: float = 0.06) -> bool:
        """Whether a rectangle (along0, along1, height0, height1) of a wall is free."""
        half = self.walls[wall].length / 2 - 0.05
        a0, a1, h0, h1 = rect
        if a0 < -half or a1 > half:
            return False
        return not any(
            a0 < b1 + gap and a1 > b0 - gap and h0 < g1 + gap and h1 > g0 - gap
            for b0, b1, g0, g1 in self.on_walls[wall]
        )

    def place_at_wall(
        self, dice: Dice, size: Vec3, tries: int = 20, front: float = 0.0
    ) -> Frame | None:
        """A frame with its back to a wall in sight, or None; takes the space.

        Args:
            dice (Dice): Choices.
            size (Vec3): Width, height and depth, metres.
            tries (int): Positions to try.
            front (float): Free depth wanted in front, metres; not taken.
        """
        width, height, depth = size
        for _ in range(tries):
            index = dice.pick((0, 0, 1, 2))
            wall = self.walls[index]
            reach = wall.length / 2 - width / 2 - 0.04
            if reach <= 0:
                continue
            along = dice.uniform(-reach, reach)
            frame = wall.frame(along, depth / 2 + 0.015)
            rect = footprint(frame, width, depth)
            if not self.seen(frame.x, frame.z, 0.06) or not self.free(rect):
                continue
            # Low pieces may stand nearer: one looks over them.
            if not self.clear_of_camera(rect, 0.7 if height < 1.1 else 1.3):
                continue
            if front:
                ahead = wall.frame(along, depth + front / 2 + 0.08)
                if not self.free(footprint(ahead, width * 0.8, front), 0.0):
                    continue
            strip = (along - width / 2, along + width / 2, 0.0, height)
            if not self.free_wall(index, strip, 0.0):
                continue
            self.taken.append(rect)
            self.on_walls[index].append(strip)
            return frame
        return None

    def place_on_floor(
        self, dice: Dice, width: float, depth: float, nearest: float = 1.2, tries: int = 12
    ) -> Frame | None:
        """A frame on free floor in sight, at any yaw, or None; takes the space."""
        for _ in range(tries):
            distance = nearest + (2 * max(self.half) - nearest) * dice.uniform(0, 1) ** 1.3
            angle = self.camera.yaw + dice.uniform(-0.5, 0.5)
            x = self.camera.position[0] - distance * math.sin(angle)
            z = self.camera.position[2] - distance * math.cos(angle)
            yaw = dice.integer(0, 3) * math.pi / 2 + dice.uniform(-0.35, 0.35)
            frame = Frame.at(x, 0.0, z, yaw)
            rect = footprint(frame, width, depth)
            if self.free(rect) and self.clear_of_camera(rect, nearest):
                self.taken.append(rect)
                return frame
        return None

    def hang(
        self, dice: Dice, width: float, height: float, bottom: float, thick: float, tries: int = 14
    ) -> Frame | None:
        """A frame for the middle of something flat on a wall in sight, or None; takes the space."""
        for _ in range(tries):
            index = dice.pick((0, 0, 1, 2))
            wall = self.walls[index]
            reach = wall.length / 2 - width / 2 - 0.08
            if reach <= 0:
                continue
            along = dice.uniform(-reach, reach)
            rect = (along - width / 2, along + width / 2, bottom, bottom + height)
            frame = wall.frame(along, thick / 2, bottom + height / 2)
            if self.seen(frame.x, frame.z, 0.04) and self.free_wall(index, rect):
                self.on_walls[index].append(rect)
                return frame
        return None


def footprint(frame: Frame, width: float, depth: float) -> Rect:
    """The upright rectangle around a turned one."""
    hx = (abs(frame.cos) * width + abs(frame.sin) * depth) / 2
    hz = (abs(frame.sin) * width + abs(frame.cos) * depth) / 2
    return (frame.x - hx, frame.x + hx, frame.z - hz, frame.z + hz)
