"""Metrics: one file each, additive counters, a protocol line with every number."""

from .base import DenseMetric
from .binary_f_metric import BinaryFMetric
from .depth_metric import DepthMetric
from .normal_metric import NormalMetric
from .regression_metric import RegressionMetric
from .seg_metric import SegMetric

__all__ = [
    'BinaryFMetric',
    'DenseMetric',
    'DepthMetric',
    'NormalMetric',
    'RegressionMetric',
    'SegMetric',
]
