"""Tasks: one file each, complete. ``base.py`` says what a task is."""

from .base import BaseTask, build_tasks
from .binary import BinaryTask
from .binned_depth import BinnedDepth
from .boundary import Boundary
from .centroid_normal import CentroidNormal
from .depth import Depth
from .drawing import Legend
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
    'BinnedDepth',
    'Boundary',
    'CentroidNormal',
    'Depth',
    'EdgeOcclusion',
    'EdgeTexture',
    'Keypoints2D',
    'Keypoints3D',
    'LabelTask',
    'Legend',
    'Normal',
    'Part',
    'PrincipalCurvature',
    'RegressionTask',
    'Reshading',
    'Saliency',
    'SemSeg',
    'build_tasks',
]
