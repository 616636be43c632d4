"""Optimizer wrappers and how parameters are grouped."""

from .constructor import PatternOptimWrapperConstructor
from .split_optim_wrapper import SplitOptimWrapper, SplitOptimWrapperConstructor

__all__ = [
    'PatternOptimWrapperConstructor',
    'SplitOptimWrapper',
    'SplitOptimWrapperConstructor',
]
