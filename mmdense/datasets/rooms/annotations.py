"""Ground truth from what each pixel shows: labels, boundaries, saliency, holes in the depth."""

from __future__ import annotations

import numpy as np

from .constants import DEPTH_RANGE, PROJECTOR_BASELINE
from .noise import value_noise
from .surface import Surface
from .textures import Paint

Array = np.ndarray

#: Share of the picture below which an instance is no candidate for saliency.
MIN_SALIENT_SHARE = 0.004


def find_boundaries(instances: Array) -> Array:
    """Boundaries between instances.

    A pixel is a boundary if its instance differs from that of its east, south or
    south-east neighbour; neighbours outside the picture do not count.

    Args:
        instances (Array): Instance ids ``(H, W)``.

    Returns:
        Array: ``(H, W)`` uint8, 0 or 1.

    Example:
        >>> find_boundaries(np.array([[1, 1, 2], [1, 1, 2]])).tolist()
        [[0, 1, 0], [0, 1, 0]]
    """
    edge = np.zeros(instances.shape, bool)
    edge[:, :-1] |= instances[:, :-1] != instances[:, 1:]
    edge[:-1] |= instances[:-1] != instances[1:]
    edge[:-1, :-1] |= instances[:-1, :-1] != instances[1:, 1:]
    return edge.view(np.uint8)


def find_salient(instances: Array, depth: Array, foreground: list[int], people: list[int]) -> Array:
    """The one to three instances that a viewer would name first.

    Every person is salient. Of the other foreground instances (furniture and things; not
    the room, windows, doors, pictures, rugs or ceiling lamps) each scores
    ``sqrt(area) * exp(-2 r^2) / mean depth``, with the area as a share of the picture and
    r the distance of the centroid from the centre in half diagonals. The best is salient,
    and so are others that reach 0.8 of it, up to three instances in all. Instances below
    0.4 % of the picture are left out; if none is left, nothing is salient.

    Args:
        instances (Array): Instance ids ``(H, W)``.
        depth (Array): Exact depth ``(H, W)``, metres.
        foreground (list[int]): Ids of instances that may be salient.
        people (list[int]): Those of them that are people.

    Returns:
        Array: ``(H, W)`` uint8, 0 or 1.
    """
    height, width = instances.shape
    flat = instances.ravel()
    count = int(flat.max()) + 1
    area = np.bincount(flat, minlength=count).astype(np.float64)
    safe = np.maximum(area, 1)
    column, row = np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2
    x = np.bincount(flat, np.broadcast_to(column, instances.shape).ravel(), count) / safe
    y = np.bincount(flat, np.broadcast_to(row[:, None], instances.shape).ravel(), count) / safe
    distance = np.bincount(flat, depth.ravel(), count) / safe
    radius2 = 4 * (x * x + y * y) / (height**2 + width**2)
    share = area / flat.size
    score = np.sqrt(share) * np.exp(-2 * radius2) / np.maximum(distance, 0.1)
    visible = [i for i in foreground if i < count and share[i] >= MIN_SALIENT_SHARE]
    chosen = [i for i in visible if i in people][:3]
    others = sorted((i for i in visible if i not in people), key=lambda i: -score[i])
    for i in others[: 3 - len(chosen)]:
        if score[i] >= 0.8 * score[others[0]]:
            chosen.append(i)
    table = np.zeros(count, np.uint8)
    table[chosen] = 1
    return table.take(instances)


def find_holes(surface: Surface, painted: Paint, size: tuple[int, int], focal: float) -> Array:
    """Where a structured-light depth camera measures nothing.

    Behind a near object, on the side that its projector does not reach; on panes and
    screens, in blotches; on surfaces seen at a grazing angle; outside its range.

    Args:
        surface (Surface): What each pixel shows.
        painted (Paint): Where the glass is.
        size (tuple[int, int]): (H, W).
        focal (float): Focal length in pixels.

    Returns:
        Array: ``(H, W)`` bool.
    """
    depth = surface.depth
    holes = (depth < DEPTH_RANGE[0]) | (depth > DEPTH_RANGE[1])
    # The cosine between normal and ray, and a threshold that wavers along the surface.
    along = surface.normal * surface.direction
    cosine = -along.sum(0) / np.sqrt((surface.direction * surface.direction).sum(0))
    holes |= cosine < 0.06 + 0.1 * painted.noise
    at = np.flatnonzero(painted.glass)
    if at.size:
        u, v = surface.uv.take(at, axis=1)
        holes[at] |= value_noise(9 * u + 31, 9 * v + 7) > 0.3
    # The projector sits to the right of the imager: column x, seen from there, falls on
    # x - f * b / Z. A pixel is in shadow if one further right falls left of it.
    seen = np.arange(size[1], dtype=np.float32) - (focal * PROJECTOR_BASELINE) / depth.reshape(size)
    first = np.minimum.accumulate(seen[:, ::-1], axis=1)[:, ::-1]
    return holes.reshape(size) | (seen > first + 0.5)


def label_parts(part: Array, index: Array) -> Array:
    """Human parts ``(H, W)`` uint8 of each pixel's solid; all 255 if nobody is in sight."""
    labels = part.take(index)
    if not labels.any():
        labels[:] = 255
    return labels
