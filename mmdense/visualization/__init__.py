"""Panels of dense maps."""

from .local_visualizer import DenseLocalVisualizer, save_picture, to_array

__all__ = ['DenseLocalVisualizer', 'save_picture', 'to_array']
