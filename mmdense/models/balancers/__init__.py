"""Loss balancers: several task losses to one scalar."""

from .base import BaseBalancer
from .fixed_weights import FixedWeights

__all__ = ['BaseBalancer', 'FixedWeights']
