"""Heads: features to the map of one task."""

from .aspp_head import DeepLabV3PlusHead
from .base_head import BaseDenseHead
from .cluster_bin_depth_head import ClusterBinDepthHead
from .cluster_head import ClusterHead
from .cluster_prediction import ClusterPrediction
from .cluster_seg_head import ClusterSegHead
from .conv_head import ConvHead
from .sphere_segment_normal_head import SphereSegmentNormalHead

__all__ = [
    'BaseDenseHead',
    'ClusterBinDepthHead',
    'ClusterHead',
    'ClusterPrediction',
    'ClusterSegHead',
    'ConvHead',
    'DeepLabV3PlusHead',
    'SphereSegmentNormalHead',
]
