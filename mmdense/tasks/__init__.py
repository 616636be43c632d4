"""Tasks: one file each, complete. ``base.py`` says what a task is."""

from .base import BaseTask, build_tasks
from .binary import BinaryTask
from .boundary import Boundary
from .depth import Depth
from .labels import LabelTask
from .normal import Normal
from .part import Part
from .saliency import Saliency
from .semseg import SemSeg

__all__ = [
    'BaseTask',
    'BinaryTask',
    'Boundary',
    'Depth',
    'LabelTask',
    'Normal',
    'Part',
    'Saliency',
    'SemSeg',
    'build_tasks',
]
