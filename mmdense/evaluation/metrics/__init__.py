"""Metrics: one file each, additive counters, a protocol line with every number."""

from .base import DenseMetric
from .binary_f_metric import BinaryFMetric
from .boundary_metric import BoundaryMetric
from .depth_metric import DepthMetric
from .normal_metric import NormalMetric
from .seg_metric import SegMetric

__all__ = [
    'BinaryFMetric',
    'BoundaryMetric',
    'DenseMetric',
    'DepthMetric',
    'NormalMetric',
    'SegMetric',
]
