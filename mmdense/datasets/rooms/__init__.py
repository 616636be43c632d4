"""Procedural rooms: pictures with exact ground truth for every task, made as they are asked for.

``scene`` furnishes a room, ``raycast`` finds what each pixel shows, ``surface`` describes it,
``textures`` and ``shading`` colour it, ``annotations`` label it; ``render`` is the one
function that runs them, ``cache`` keeps results on disk, ``camera`` states the conventions.
"""

from .camera import back_project, project
from .render import RoomSample, render_room
from .rooms_dataset import RoomsDataset

__all__ = ['RoomSample', 'RoomsDataset', 'back_project', 'project', 'render_room']
