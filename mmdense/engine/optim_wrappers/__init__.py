"""Optimizer wrappers and how parameters are grouped."""

from .aggregators import DBMTL, Aggregator, GradNorm, MoCo, TorchJDAggregator
from .balancer_group import separate_balancer
from .constructor import PatternOptimWrapperConstructor
from .jacobian_optim_wrapper import JacobianOptimWrapper
from .split_optim_wrapper import SplitOptimWrapper, SplitOptimWrapperConstructor

__all__ = [
    'DBMTL',
    'Aggregator',
    'GradNorm',
    'JacobianOptimWrapper',
    'MoCo',
    'PatternOptimWrapperConstructor',
    'SplitOptimWrapper',
    'SplitOptimWrapperConstructor',
    'TorchJDAggregator',
    'separate_balancer',
]
