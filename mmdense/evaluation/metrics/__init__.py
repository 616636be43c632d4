"""Metrics: one file each, additive counters, a protocol line with every number."""

from .base import DenseMetric, ExactMetric, StampedMetric
from .binary_f_metric import BinaryFMetric
from .boundary_metric import BoundaryMetric
from .boundary_segmentation_agreement import BoundarySegmentationAgreement
from .depth_metric import DepthMetric
from .edge_loss_metric import EdgeLossMetric
from .normal_depth_consistency import NormalDepthConsistencyMetric
from .normal_metric import NormalMetric
from .regression_metric import RegressionMetric
from .seg_metric import SegMetric
from .view_consistency_metric import ViewConsistencyMetric

__all__ = [
    'BinaryFMetric',
    'BoundaryMetric',
    'BoundarySegmentationAgreement',
    'DenseMetric',
    'DepthMetric',
    'EdgeLossMetric',
    'ExactMetric',
    'NormalDepthConsistencyMetric',
    'NormalMetric',
    'RegressionMetric',
    'SegMetric',
    'StampedMetric',
    'ViewConsistencyMetric',
]
