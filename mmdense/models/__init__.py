"""Models: a folder per kind of part, a file per method."""

from . import balancers, heads, losses, predictors
from .data_preprocessor import DenseDataPreprocessor

__all__ = ['DenseDataPreprocessor', 'balancers', 'heads', 'losses', 'predictors']
