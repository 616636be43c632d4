"""Speed and memory of the cores of methods: one function in several equal forms."""

from .base import CORES, Core, CoreRow, CoreSettings, measure_core, slope
from .cross_task_affinity import CrossTaskAffinityCore
from .pattern_affinity import PatternAffinityCore

__all__ = [
    'CORES',
    'Core',
    'CoreRow',
    'CoreSettings',
    'CrossTaskAffinityCore',
    'PatternAffinityCore',
    'measure_core',
    'slope',
]
