"""Writers: known arrays in the layouts of the published data sets, one file per layout."""

from .base import LayoutWriter
from .cityscapes import CityscapesSmallWriter, CityscapesWriter
from .folder import FolderWriter
from .nyud import NYUDWriter
from .nyuv2 import NYUv2Writer
from .pascal_context import AnnotatedObject, PASCALContextWriter
from .taskonomy import TaskonomyWriter, pack_building

__all__ = [
    'AnnotatedObject',
    'CityscapesSmallWriter',
    'CityscapesWriter',
    'FolderWriter',
    'LayoutWriter',
    'NYUDWriter',
    'NYUv2Writer',
    'PASCALContextWriter',
    'TaskonomyWriter',
    'pack_building',
]
