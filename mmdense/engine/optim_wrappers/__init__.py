"""Optimizer wrappers and how parameters are grouped."""

from .aggregators import DBMTL, Aggregator, GradNorm, MoCo, TorchJDAggregator
from .balancer_group import separate_balancer
from .constructor import PatternOptimWrapperConstructor
from .jacobian_optim_wrapper import JacobianOptimWrapper

__all__ = [
    'DBMTL',
    'Aggregator',
    'GradNorm',
    'JacobianOptimWrapper',
    'MoCo',
    'PatternOptimWrapperConstructor',
    'TorchJDAggregator',
    'separate_balancer',
]
