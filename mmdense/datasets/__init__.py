"""Data sets, one file each, and the transforms that move all targets with the picture."""

from .base import BaseDenseDataset
from .samplers import SeededIndex, SeededInfiniteSampler

__all__ = ['BaseDenseDataset', 'SeededIndex', 'SeededInfiniteSampler']
