"""Procedural rooms: pictures with exact ground truth for every task, made as they are asked for."""

from .camera import back_project, project
from .render import RoomSample, render_room

__all__ = ['RoomSample', 'back_project', 'project', 'render_room']
