"""Models: a folder per kind of part, a file per method."""

from . import backbones, balancers, heads, losses, necks, predictors, regularizers
from .data_preprocessor import DenseDataPreprocessor

__all__ = [
    'DenseDataPreprocessor',
    'backbones',
    'balancers',
    'heads',
    'losses',
    'necks',
    'predictors',
    'regularizers',
]
