"""Optimizer wrappers and how parameters are grouped."""

from .constructor import PatternOptimWrapperConstructor

__all__ = ['PatternOptimWrapperConstructor']
