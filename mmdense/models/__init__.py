"""Models: a folder per kind of part, a file per method."""

from . import balancers, losses, predictors
from .data_preprocessor import DenseDataPreprocessor

__all__ = [
    'DenseDataPreprocessor',
    'balancers',
    'losses',
    'predictors',
]
