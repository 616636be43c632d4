"""Metrics, the multi-task evaluator and the constant predictor they are held against."""

from .constant_predictor import best_constants, ground_truths, score_constants
from .counters import ExactCounters
from .delta_m import DeltaM, delta_m, task_gains
from .metrics import *  # noqa: F403
from .metrics import __all__ as _metrics
from .multi_task_evaluator import MultiTaskEvaluator, results_table
from .references import Reference, ReferenceValue, load_reference, save_reference
from .setting import Backbone, Setting, SettingMismatch

__all__ = [
    'Backbone',
    'DeltaM',
    'ExactCounters',
    'MultiTaskEvaluator',
    'Reference',
    'ReferenceValue',
    'Setting',
    'SettingMismatch',
    'best_constants',
    'delta_m',
    'ground_truths',
    'load_reference',
    'results_table',
    'save_reference',
    'score_constants',
    'task_gains',
    *_metrics,
]
