"""Helpers of the models: pretrained weights."""

from .pretrained import LoadReport, PretrainedInitMixin, compare_state_dicts, load_pretrained

__all__ = ['LoadReport', 'PretrainedInitMixin', 'compare_state_dicts', 'load_pretrained']
