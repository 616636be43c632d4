"""From (seed, split, index) to a picture with every annotation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .annotations import find_boundaries, find_holes, find_salient, label_parts
from .constants import SPLITS
from .dice import SENSOR_STREAM, make_rng
from .raycast import Rays, cast
from .scene import Scene, sample_scene
from .shading import display_colors, expose, shade
from .surface import describe_surface
from .textures import paint

Array = np.ndarray


@dataclass(frozen=True)
class RoomSample:
    """A rendered picture and everything known about it.

    Attributes:
        image: ``(H, W, 3)`` uint8, RGB.
        gt: Task key to ground truth, ``(H, W)`` each unless said otherwise:
            ``semseg`` uint8, the 13 classes of :data:`~.constants.CLASSES`, no unknown pixel;
            ``depth`` float32, metres along the optical axis, 0 where the simulated depth
            camera has a hole;
            ``normal`` ``(H, W, 3)`` float32, unit, camera axes (x right, y up, z towards the
            camera), exact at every pixel;
            ``boundary`` uint8, 1 where the instance differs from the east, south or
            south-east neighbour's;
            ``saliency`` uint8, 0 or 1;
            ``part`` uint8, :data:`~.constants.PARTS`, all 255 without a person in sight.
        depth: Exact depth ``(H, W)`` float32 without holes, metres along the optical axis.
        instances: Instance ids ``(H, W)`` uint16 from 1; 1 is the floor, 2 the ceiling,
            3 to 6 the walls. Stable across views and sizes of one scene.
        intrinsics: ``(3, 3)`` float64 in pixels, centre of pixel i at i + 0.5.
        pose: Camera-to-world ``(4, 4)`` float64, metres, of the camera axes above.
        albedo: ``(H, W, 3)`` uint8, RGB: colour of the surfaces without light, shade, noise and
            white balance, in the tone of ``image`` (gamma 2). Of a surface that shines by
            itself, the colour in which it does. :func:`truth_of` gives it as a map in [0, 1].
    """

    image: Array
    gt: dict[str, Array]
    depth: Array
    instances: Array
    intrinsics: Array
    pose: Array
    albedo: Array


def truth_of(room: RoomSample, key: str) -> Array:
    """Ground truth by its key: those of ``room.gt``, and ``albedo``, float32 in [0, 1]."""
    # Made of bytes when it is asked for, because few ask.
    return room.albedo / np.float32(255) if key == 'albedo' else room.gt[key]


def render_room(
    seed: int, split: str, index: int, size: tuple[int, int], view: int = 0
) -> RoomSample:
    """Render one picture of a procedural room.

    A pure function: the same arguments give the same arrays, bit for bit, in any process
    and order. The scene depends on ``seed``, ``split`` and ``index`` alone; ``size`` and
    ``view`` only choose how it is looked at.

    Args:
        seed (int): Family of scenes, 0 to 2**32 - 1.
        split (str): 'train', 'val' or 'test'; no two share a scene.
        index (int): Number of the scene, 0 to 2**32 - 1.
        size (tuple[int, int]): (H, W) in pixels, at least 8 each. The horizontal field
            of view is fixed; the aspect ratio decides the vertical one.
        view (int): 0, or 1 for a second camera a small step beside the first, with its own
            intrinsics and pose.

    Returns:
        RoomSample: Picture, ground truth and camera.

    Raises:
        ValueError: If an argument is outside its range.

    Example:
        >>> render_room(0, 'val', 3, (24, 32)).gt['normal'].shape
        (24, 32, 3)
    """
    check_request(seed, split, index, size, view)
    scene = sample_scene(seed, SPLITS[split], index)
    rng = make_rng(SENSOR_STREAM, seed, SPLITS[split], index, view)
    return render_scene(scene, size, view, rng)


def check_request(seed: int, split: str, index: int, size: tuple[int, int], view: int) -> None:
    """Raise ``ValueError`` for arguments that name no picture."""
    if split not in SPLITS:
        raise ValueError(f'render_room: split is {split!r}, expected one of {", ".join(SPLITS)}.')
    for name, value in (('seed', seed), ('index', index)):
        if not 0 <= value < 2**32:
            raise ValueError(f'render_room: {name} is {value}, expected 0 to 2**32 - 1.')
    if view not in (0, 1):
        raise ValueError(f'render_room: view is {view}, expected 0 or 1.')
    if len(size) != 2 or min(size) < 8:
        raise ValueError(f'render_room: size is {size}, expected (H, W) of at least 8 pixels each.')


def render_scene(
    scene: Scene, size: tuple[int, int], view: int, rng: np.random.Generator
) -> RoomSample:
    """Render a sampled scene; ``rng`` makes the sensor noise only."""
    rays = Rays.of(scene.cameras[view], size)
    focal = float(rays.intrinsics[0, 0])
    solids = scene.solids
    depth, index = cast(solids, rays)
    surface = describe_surface(solids, rays, depth, index)
    painted = paint(solids, surface, focal)
    linear = shade(surface, painted, scene.light, scene.room, scene.shadows)
    image = expose(linear, scene.light.grain, size, rng)

    instances = solids.instance.take(index)
    holes = find_holes(surface, painted, size, focal)
    gt = {
        'semseg': solids.label.take(index),
        'depth': np.where(holes, np.float32(0), depth),
        'normal': _camera_normals(surface.normal, rays.pose, size),
        'boundary': find_boundaries(instances),
        'saliency': find_salient(instances, depth, scene.foreground, scene.people),
        'part': label_parts(solids.part, index),
    }
    albedo = display_colors(painted.albedo, size)
    return RoomSample(image, gt, depth, instances, rays.intrinsics, rays.pose, albedo)


def _camera_normals(normal: Array, pose: Array, size: tuple[int, int]) -> Array:
    """World normals ``(3, n)`` to camera normals ``(H, W, 3)``, unit length."""
    x, y, z = normal
    out = np.empty((*size, 3), np.float32)
    flat = out.reshape(-1, 3)
    for axis, (a, b, c) in enumerate(pose[:3, :3].T.astype(np.float32).tolist()):
        flat[:, axis] = a * x + b * y + c * z
    return out
