"""Sources: where the pictures of a conversion come from, one file per source."""

from .cityscapes import CityscapesSource
from .nyu_depth_v2 import NYUDepthV2Source
from .pascal_context import PASCALContextSource, PASCALFolders
from .rooms import RoomsSource
from .taskonomy import TaskonomySource

__all__ = [
    'CityscapesSource',
    'NYUDepthV2Source',
    'PASCALContextSource',
    'PASCALFolders',
    'RoomsSource',
    'TaskonomySource',
]
