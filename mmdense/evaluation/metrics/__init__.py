"""Metrics: one file each, additive counters, a protocol line with every number."""

from .base import DenseMetric, ExactMetric, StampedMetric
from .binary_f_metric import BinaryFMetric
from .boundary_metric import BoundaryMetric
from .depth_metric import DepthMetric
from .edge_loss_metric import EdgeLossMetric
from .normal_metric import NormalMetric
from .regression_metric import RegressionMetric
from .seg_metric import SegMetric

__all__ = [
    'BinaryFMetric',
    'BoundaryMetric',
    'DenseMetric',
    'DepthMetric',
    'EdgeLossMetric',
    'ExactMetric',
    'NormalMetric',
    'RegressionMetric',
    'SegMetric',
    'StampedMetric',
]
