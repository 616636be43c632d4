"""Sources: where the pictures of a conversion come from, one file per source."""

from .rooms import RoomsSource

__all__ = ['RoomsSource']
