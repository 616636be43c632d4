"""Transforms that move all targets with the picture; what a value does, its task says."""

from .color import ColorPolicy, PhotoMetricDistortion, RandomBrightnessGamma
from .crop import TaskAwareBorderCrop, TaskAwareCrop
from .flip import TaskAwareFlip
from .formatting import PackDenseInputs
from .pad import TaskAwarePad
from .resize import TaskAwareRandomScale, TaskAwareRandomScaleCrop, TaskAwareResize
from .rotate import TaskAwareRotate
from .scale_rotate import TaskAwareScaleRotate

__all__ = [
    'ColorPolicy',
    'PackDenseInputs',
    'PhotoMetricDistortion',
    'RandomBrightnessGamma',
    'TaskAwareBorderCrop',
    'TaskAwareCrop',
    'TaskAwareFlip',
    'TaskAwarePad',
    'TaskAwareRandomScale',
    'TaskAwareRandomScaleCrop',
    'TaskAwareResize',
    'TaskAwareRotate',
    'TaskAwareScaleRotate',
]
