"""Panels of dense maps."""

from .local_visualizer import DenseLocalVisualizer, save_picture

__all__ = ['DenseLocalVisualizer', 'save_picture']
