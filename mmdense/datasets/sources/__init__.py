"""Sources: where the pictures of a conversion come from, one file per source."""

from .cityscapes import CityscapesSource
from .nyu_depth_v2 import NYUDepthV2Source
from .rooms import RoomsSource

__all__ = ['CityscapesSource', 'NYUDepthV2Source', 'RoomsSource']
