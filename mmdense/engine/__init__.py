"""Hooks, schedules, optimizer wrappers and what launches a run."""

from . import hooks, optim_wrappers
from .schedulers import WarmupPolyLR

__all__ = ['WarmupPolyLR', 'hooks', 'optim_wrappers']
