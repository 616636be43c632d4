"""Helpers of the models: pretrained weights."""

from .demt_keys import convert_demt_keys, load_demt_release
from .invpt_keys import convert_invpt_keys, load_invpt_release
from .pretrained import LoadReport, PretrainedInitMixin, compare_state_dicts, load_pretrained
from .single_task import merge_single_task

__all__ = [
    'LoadReport',
    'PretrainedInitMixin',
    'compare_state_dicts',
    'convert_demt_keys',
    'convert_invpt_keys',
    'load_demt_release',
    'load_invpt_release',
    'load_pretrained',
    'merge_single_task',
]
