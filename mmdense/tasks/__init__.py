"""Tasks: one file each, complete. ``base.py`` says what a task is."""

from .base import BaseTask, build_tasks
from .binary import BinaryTask
from .boundary import Boundary
from .depth import Depth
from .labels import LabelTask
from .normal import Normal
from .part import Part
from .regression import (
    EdgeOcclusion,
    EdgeTexture,
    Keypoints2D,
    Keypoints3D,
    PrincipalCurvature,
    RegressionTask,
    Reshading,
)
from .saliency import Saliency
from .semseg import SemSeg

__all__ = [
    'BaseTask',
    'BinaryTask',
    'Boundary',
    'Depth',
    'EdgeOcclusion',
    'EdgeTexture',
    'Keypoints2D',
    'Keypoints3D',
    'LabelTask',
    'Normal',
    'Part',
    'PrincipalCurvature',
    'RegressionTask',
    'Reshading',
    'Saliency',
    'SemSeg',
    'build_tasks',
]
