"""Data sets, one file each, and the transforms that move all targets with the picture."""

from .base import BaseDenseDataset
from .cityscapes import (
    CITYSCAPES_CATEGORIES,
    CITYSCAPES_CLASSES,
    CityscapesDataset,
    CityscapesSmallDataset,
)
from .folder import FolderDataset
from .nyudv2 import NYUD_CLASSES, NYUDv2Dataset
from .nyuv2 import NYUV2_CLASSES, NYUv2Dataset
from .pascal_context import PASCAL_CLASSES, PASCALContextDataset
from .rooms import RoomsDataset
from .samplers import SeededIndex, SeededInfiniteSampler
from .tar_backend import TarShardBackend
from .taskonomy import TASKONOMY_CLASSES, TaskonomyDataset

__all__ = [
    'CITYSCAPES_CATEGORIES',
    'CITYSCAPES_CLASSES',
    'NYUD_CLASSES',
    'NYUV2_CLASSES',
    'PASCAL_CLASSES',
    'TASKONOMY_CLASSES',
    'BaseDenseDataset',
    'CityscapesDataset',
    'CityscapesSmallDataset',
    'FolderDataset',
    'NYUDv2Dataset',
    'NYUv2Dataset',
    'PASCALContextDataset',
    'RoomsDataset',
    'SeededIndex',
    'SeededInfiniteSampler',
    'TarShardBackend',
    'TaskonomyDataset',
]
