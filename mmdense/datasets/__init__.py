"""Data sets, one file each, and the transforms that move all targets with the picture."""

from .base import BaseDenseDataset

__all__ = ['BaseDenseDataset']
