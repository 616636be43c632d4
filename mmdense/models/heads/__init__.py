"""Heads: features to the map of one task."""

from .aspp_head import ASPPHead
from .auxiliary_semantic_decoder import AuxiliarySemanticDecoder
from .base_head import BaseDenseHead
from .cluster_bin_depth_head import ClusterBinDepthHead
from .cluster_head import ClusterHead
from .cluster_prediction import ClusterPrediction
from .cluster_seg_head import ClusterSegHead
from .conv_head import ConvHead
from .deeplab_v3_plus_head import DeepLabV3PlusHead
from .hr_head import HRHead
from .kmax_predictor import KMaXPredictor
from .kmax_transformer_decoder import KMaXTransformerDecoder
from .pointwise_head import PointwiseDepthHead, PointwiseHead
from .residual_head import ResidualHead
from .sphere_segment_normal_head import SphereSegmentNormalHead

__all__ = [
    'ASPPHead',
    'AuxiliarySemanticDecoder',
    'BaseDenseHead',
    'ClusterBinDepthHead',
    'ClusterHead',
    'ClusterPrediction',
    'ClusterSegHead',
    'ConvHead',
    'DeepLabV3PlusHead',
    'HRHead',
    'KMaXPredictor',
    'KMaXTransformerDecoder',
    'PointwiseDepthHead',
    'PointwiseHead',
    'ResidualHead',
    'SphereSegmentNormalHead',
]
