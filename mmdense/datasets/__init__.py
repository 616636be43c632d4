"""Data sets, one file each, and the transforms that move all targets with the picture."""

from .base import BaseDenseDataset
from .nyudv2 import NYUDv2Dataset
from .rooms import RoomsDataset
from .samplers import SeededIndex, SeededInfiniteSampler
from .taskonomy import TaskonomyDataset

__all__ = [
    'BaseDenseDataset',
    'NYUDv2Dataset',
    'RoomsDataset',
    'SeededIndex',
    'SeededInfiniteSampler',
    'TaskonomyDataset',
]
