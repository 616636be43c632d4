"""Solids that scenes are made of, and the pen that draws furniture with them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from .materials import Material

Array = np.ndarray
Vec3 = tuple[float, float, float]

#: Kinds of solids. A wall is a box without thickness.
BOX, ELLIPSOID, CYLINDER, CAPSULE = range(4)


@dataclass(frozen=True)
class Frame:
    """A place on the floor plan: origin and a turn about the vertical axis.

    The frame's own x is the width of what stands there, y is up and z its front.

    Attributes:
        x, y, z: World position of the origin, metres.
        cos, sin: Of the yaw; yaw 0 fronts towards world +z, +90 degrees towards +x.
    """

    x: float
    y: float
    z: float
    cos: float = 1.0
    sin: float = 0.0

    @classmethod
    def at(cls, x: float, y: float, z: float, yaw: float) -> Frame:
        """A frame turned by ``yaw`` radians; quarter turns are exact."""
        quarter = yaw / (math.pi / 2)
        if abs(quarter - round(quarter)) < 1e-9:
            cos, sin = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[round(quarter) % 4]
            return cls(x, y, z, cos, sin)
        return cls(x, y, z, math.cos(yaw), math.sin(yaw))

    def point(self, p: Vec3) -> Vec3:
        """A point of this frame in the world."""
        return (
            self.x + self.cos * p[0] + self.sin * p[2],
            self.y + p[1],
            self.z - self.sin * p[0] + self.cos * p[2],
        )

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0, turn: float = 0.0) -> Frame:
        """A frame inside this one: shifted, then turned by ``turn`` radians."""
        wx, wy, wz = self.point((x, y, z))
        yaw = math.atan2(self.sin, self.cos) + turn
        return Frame.at(wx, wy, wz, yaw)

    @property
    def rotation(self) -> tuple[float, ...]:
        """Rotation to the world, nine numbers row by row."""
        c, s = self.cos, self.sin
        return (c, 0.0, s, 0.0, 1.0, 0.0, -s, 0.0, c)


@dataclass(frozen=True)
class Primitive:
    """One solid.

    Attributes:
        kind: BOX, ELLIPSOID, CYLINDER (upright in its own frame) or CAPSULE (likewise).
        center: World position, metres.
        half: Half extents along the solid's own axes, metres; a capsule's y includes its caps.
        rotation: Own axes to world, nine numbers row by row.
        label: Class, an index of :data:`~.constants.CLASSES`.
        instance: Instance id, from 1.
        part: Human part, 0 for all else.
        material: What it is made of.
    """

    kind: int
    center: Vec3
    half: Vec3
    rotation: tuple[float, ...]
    label: int
    instance: int
    part: int
    material: Material


def rotation_to(axis: Vec3) -> tuple[float, ...]:
    """A rotation that takes y to the unit vector ``axis``, nine numbers row by row."""
    ax, ay, az = axis
    # Any direction far from the axis will do for the second column's partner.
    hx, hy, hz = (1.0, 0.0, 0.0) if abs(ax) < 0.8 else (0.0, 0.0, 1.0)
    dot = hx * ax + hy * ay + hz * az
    ux, uy, uz = hx - dot * ax, hy - dot * ay, hz - dot * az
    norm = math.sqrt(ux * ux + uy * uy + uz * uz)
    ux, uy, uz = ux / norm, uy / norm, uz / norm
    wx, wy, wz = uy * az - uz * ay, uz * ax - ux * az, ux * ay - uy * ax
    return (ux, ax, wx, uy, ay, wy, uz, az, wz)


@dataclass
class Pen:
    """Draws one instance: every solid it adds shares frame, class and instance id.

    Sizes are full extents in metres, positions are those of the frame.
    """

    out: list[Primitive]
    frame: Frame
    label: int
    instance: int

    def _add(
        self,
        kind: int,
        center: Vec3,
        size: Vec3,
        material: Material,
        part: int,
        rotation: tuple[float, ...] | None = None,
    ) -> None:
        half = (size[0] / 2, size[1] / 2, size[2] / 2)
        turn = self.frame.rotation if rotation is None else rotation
        self.out.append(
            Primitive(
                kind,
                self.frame.point(center),
                half,
                turn,
                self.label,
                self.instance,
                part,
                material,
            )
        )

    def box(self, center: Vec3, size: Vec3, material: Material, part: int = 0) -> None:
        """A box around ``center``."""
        self._add(BOX, center, size, material, part)

    def ellipsoid(self, center: Vec3, size: Vec3, material: Material, part: int = 0) -> None:
        """An ellipsoid around ``center``."""
        self._add(ELLIPSOID, center, size, material, part)

    def cylinder(
        self, center: Vec3, diameter: float, height: float, material: Material, part: int = 0
    ) -> None:
        """An upright cylinder around ``center``."""
        self._add(CYLINDER, center, (diameter, height, diameter), material, part)

    def flat(
        self, width: float, height: float, rotation: tuple[float, ...], material: Material
    ) -> None:
        """A side of the room at the frame's origin; the rotation's z is its inward normal."""
        self._add(BOX, (0.0, 0.0, 0.0), (width, height, 0.0), material, 0, rotation)

    def capsule(
        self, start: Vec3, end: Vec3, radius: float, material: Material, part: int = 0
    ) -> None:
        """A cylinder with round caps from ``start`` to ``end``."""
        a, b = self.frame.point(start), self.frame.point(end)
        dx, dy, dz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        length = math.sqrt(dx * dx + dy * dy + dz * dz)
        axis = (dx / length, dy / length, dz / length) if length > 1e-6 else (0.0, 1.0, 0.0)
        center = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, (start[2] + end[2]) / 2)
        size = (2 * radius, length + 2 * radius, 2 * radius)
        self._add(CAPSULE, center, size, material, part, rotation_to(axis))


@dataclass
class Solids:
    """Primitives as arrays, one entry each.

    Attributes:
        kind, label, instance, part: ``(N,)`` integers.
        center, half: ``(N, 3)`` float32.
        rotation: ``(N, 3, 3)`` float32, own axes to world.
        materials: The N materials.
    """

    primitives: list[Primitive]
    kind: Array = field(init=False)
    label: Array = field(init=False)
    instance: Array = field(init=False)
    part: Array = field(init=False)
    center: Array = field(init=False)
    half: Array = field(init=False)
    rotation: Array = field(init=False)

    def __post_init__(self) -> None:
        items = self.primitives
        self.kind = np.array([p.kind for p in items], np.uint8)
        self.label = np.array([p.label for p in items], np.uint8)
        self.instance = np.array([p.instance for p in items], np.uint16)
        self.part = np.array([p.part for p in items], np.uint8)
        self.center = np.array([p.center for p in items], np.float32)
        self.half = np.array([p.half for p in items], np.float32)
        self.rotation = np.array([p.rotation for p in items], np.float32).reshape(-1, 3, 3)

    def __len__(self) -> int:
        return len(self.primitives)

    @property
    def materials(self) -> list[Material]:
        return [p.material for p in self.primitives]
