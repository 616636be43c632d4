"""The model and its wrappers."""

from .dense_predictor import DensePredictor

__all__ = ['DensePredictor']
