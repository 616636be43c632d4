"""Models and their parts."""

from .data_preprocessor import DenseDataPreprocessor

__all__ = ['DenseDataPreprocessor']
