"""The arithmetic of necks as pure functions."""

from .cross_task import (
    cross_task_affinity,
    cross_task_affinity_explicit,
    cross_task_affinity_factorised,
    joint_affinity,
)
from .pattern import pattern_affinity, pattern_diffusion, pattern_embedding

__all__ = [
    'cross_task_affinity',
    'cross_task_affinity_explicit',
    'cross_task_affinity_factorised',
    'joint_affinity',
    'pattern_affinity',
    'pattern_diffusion',
    'pattern_embedding',
]
