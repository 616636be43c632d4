"""Light, tone and sensor of the simulated colour camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .surface import Surface
from .textures import Paint

Array = np.ndarray
Vec3 = tuple[float, float, float]


@dataclass(frozen=True)
class Light:
    """How a scene is lit and exposed; colours are linear RGB.

    Attributes:
        lamp: World position of the room lamp, metres.
        lamp_color: Its intensity at 1 m.
        sun: Unit direction towards the daylight.
        sun_color: Its intensity.
        ambient: Light from everywhere.
        balance: Exposure and white balance per channel.
        grain: Standard deviation of the sensor noise, in display units (1 is white).
    """

    lamp: Vec3
    lamp_color: Vec3
    sun: Vec3
    sun_color: Vec3
    ambient: Vec3
    balance: Vec3
    grain: float


@dataclass(frozen=True)
class Shadow:
    """The footprint of something that stands on the floor and darkens it.

    Attributes:
        x, z: Centre, metres. ``half_x``, ``half_z``: half extents.
        weight: How dark it gets underneath, [0, 1].
    """

    x: float
    z: float
    half_x: float
    half_z: float
    weight: float


def shade(
    surface: Surface, painted: Paint, light: Light, room: Vec3, shadows: list[Shadow]
) -> Array:
    """Linear RGB ``(3, n)`` of Lambertian surfaces.

    Args:
        surface (Surface): What each pixel shows.
        painted (Paint): Its colour.
        light (Light): The light.
        room (Vec3): Half width, height and half length of the room, metres.
        shadows (list[Shadow]): Contact shadows on the floor.

    Returns:
        Array: float32, not clipped.
    """
    occlusion = _occlusion(surface, room) * _contact(surface, shadows)
    normal, point = surface.normal, surface.point
    to_lamp = np.array(light.lamp, np.float32)[:, None] - point
    distance2 = (to_lamp * to_lamp).sum(0)
    lamp = np.maximum((to_lamp * normal).sum(0), 0) / np.sqrt(distance2)
    # A lamp of finite size: the fall-off is softened close by.
    lamp *= 4 / (3 + distance2)
    sx, sy, sz = light.sun
    sun = np.maximum(sx * normal[0] + sy * normal[1] + sz * normal[2], 0)
    sky = (0.8 + 0.2 * normal[1]) * occlusion
    dim = 0.5 + 0.5 * occlusion
    lamp *= dim
    sun *= dim
    out = np.empty_like(painted.albedo)
    for c in range(3):
        received = light.lamp_color[c] * lamp + light.sun_color[c] * sun + light.ambient[c] * sky
        received += painted.emission * (1 - received)
        out[c] = painted.albedo[c] * received * light.balance[c]
    return out


def _occlusion(surface: Surface, room: Vec3) -> Array:
    """Dimming near the corners of the room, [0, 1]: what stands close by hides light."""
    x, y, z = surface.point
    nx, ny, nz = surface.normal
    result = np.ones_like(x)
    reach = np.float32(1 / 0.35**2)
    # Distance to each plane of the room, and how much the surface looks towards it.
    for gap, facing in (
        (x + room[0], -nx),
        (room[0] - x, nx),
        (y, -ny),
        (room[1] - y, ny),
        (z + room[2], -nz),
        (room[2] - z, nz),
    ):
        # The plane a pixel lies on has facing -1 and so takes nothing away.
        result -= 0.16 * (1 + facing) / (1 + reach * (gap * gap))
    return np.maximum(result, 0.2)


def _contact(surface: Surface, shadows: list[Shadow]) -> Array:
    """Soft dark blobs under furniture, on anything at most 3 cm above the floor."""
    result = np.ones_like(surface.depth)
    ground = np.flatnonzero(surface.point[1] < 0.03)
    if not ground.size:
        return result
    x, z = surface.point[0][ground], surface.point[2][ground]
    light = np.ones_like(x)
    for s in shadows:
        dx = np.maximum(np.abs(x - s.x) - s.half_x, 0)
        dz = np.maximum(np.abs(z - s.z) - s.half_z, 0)
        light *= 1 - s.weight / (1 + 30 * (dx * dx + dz * dz))
    result[ground] = light
    return result


def display_colors(linear: Array, size: tuple[int, int]) -> Array:
    """Linear RGB ``(3, n)`` as a picture ``(H, W, 3)`` uint8 by a square root (gamma 2)."""
    display = np.sqrt(np.clip(linear, 0, 1)) * 255 + 0.5
    return np.ascontiguousarray(display.astype(np.uint8).T).reshape(*size, 3)


def expose(linear: Array, grain: float, size: tuple[int, int], rng: np.random.Generator) -> Array:
    """Linear RGB ``(3, n)`` to a noisy picture ``(H, W, 3)`` uint8.

    The tone curve is a soft shoulder and a square root (gamma 2); the noise grows with
    the signal as that of photons does.
    """
    tone = linear / (1 + 0.15 * linear)
    display = np.sqrt(np.clip(tone, 0, 1)).T.reshape(*size, 3)
    noise = rng.standard_normal(display.shape, dtype=np.float32)
    noise *= grain * (0.6 + 0.4 * display)
    return np.clip((display + noise) * 255 + 0.5, 0, 255).astype(np.uint8)
