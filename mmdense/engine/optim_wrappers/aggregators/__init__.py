"""Gradient aggregators: the gradients of several tasks to one direction."""

from .base import Aggregator, build_aggregator
from .db_mtl import DBMTL
from .grad_norm import GradNorm
from .moco import MoCo
from .torchjd_aggregator import TorchJDAggregator

__all__ = [
    'DBMTL',
    'Aggregator',
    'GradNorm',
    'MoCo',
    'TorchJDAggregator',
    'build_aggregator',
]
