"""The arithmetic of necks as pure functions."""

from .coherence import ATTENTION_IMPLS, CHUNK_ROWS, check_attention_impl, coherence_attention
from .cross_task import (
    cross_task_affinity,
    cross_task_affinity_explicit,
    cross_task_affinity_factorised,
    joint_affinity,
)
from .pattern import pattern_affinity, pattern_diffusion, pattern_embedding

__all__ = [
    'ATTENTION_IMPLS',
    'CHUNK_ROWS',
    'check_attention_impl',
    'coherence_attention',
    'cross_task_affinity',
    'cross_task_affinity_explicit',
    'cross_task_affinity_factorised',
    'joint_affinity',
    'pattern_affinity',
    'pattern_diffusion',
    'pattern_embedding',
]
