"""Errors, checks and lazy imports shared by all rooms."""

from .errors import DataError, MissingDependencyError, ShapeError, suggest
from .lazy import require

__all__ = ['DataError', 'MissingDependencyError', 'ShapeError', 'require', 'suggest']
