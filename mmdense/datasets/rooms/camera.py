"""The pinhole camera of the rooms, and the conventions of every array that leaves them.

World: right-handed, metres, y up, the floor at y = 0, walls along x and z.
Camera: x to the right, y up, z **towards the camera** (it looks along -z); normals and
poses use this one frame. Depth ``Z`` is metres along the optical axis (not along the
ray), so a camera point in front of the camera has ``z = -Z``.
Pixels: column i covers ``[i, i + 1)`` of the coordinate u, its centre is ``i + 0.5``;
rows likewise with v growing downwards. A camera point (x, y, -Z) is seen at
``u = fx * x / Z + cx``, ``v = cy - fy * y / Z``; an uncropped picture has
``cx = W / 2``, ``cy = H / 2``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mmdense.conventions import back_project, pixel_rays, project

from .constants import FOCAL

__all__ = ['Camera', 'back_project', 'pixel_rays', 'project']

Array = np.ndarray


@dataclass(frozen=True)
class Camera:
    """A camera in a scene, before any picture size is chosen.

    Attributes:
        position: World position of the optical centre, metres.
        yaw: Heading in radians; 0 looks along world -z, positive turns left.
        pitch: Radians, positive looks up.
        roll: Radians, positive turns the camera counter-clockwise as seen by itself.
        zoom: Factor on the focal length :data:`~.constants.FOCAL`.
        shift: Offset of the principal point as a share of the picture width.
    """

    position: tuple[float, float, float]
    yaw: float
    pitch: float
    roll: float
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    def rotation(self) -> Array:
        """Camera-to-world rotation ``(3, 3)`` float64; columns are the camera's x, y, z."""
        cy, sy = math.cos(self.yaw), math.sin(self.yaw)
        cp, sp = math.cos(self.pitch), math.sin(self.pitch)
        cr, sr = math.cos(self.roll), math.sin(self.roll)
        turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        return turn @ nod @ tilt

    def pose(self) -> Array:
        """Camera-to-world matrix ``(4, 4)`` float64."""
        pose = np.eye(4)
        pose[:3, :3] = self.rotation()
        pose[:3, 3] = self.position
        return pose

    def intrinsics(self, size: tuple[int, int]) -> Array:
        """Intrinsic matrix ``(3, 3)`` float64, in pixels, for a picture of ``size`` (H, W)."""
        height, width = size
        focal = FOCAL * self.zoom * width
        cx = width / 2 + self.shift[0] * width
        cy = height / 2 + self.shift[1] * width
        return np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1.0]])
