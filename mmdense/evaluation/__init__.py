"""Metrics, the multi-task evaluator and the constant predictor they are held against."""

from .constant_predictor import best_constants, ground_truths, score_constants
from .counters import ExactCounters
from .delta_m import DeltaM, delta_m, task_gains
from .metrics import *  # noqa: F403
from .metrics import __all__ as _metrics
from .multi_task_evaluator import MultiTaskEvaluator, results_table
from .prediction_files import evaluate_files, read_prediction, write_prediction
from .profiles import DEFAULT_PROFILES, PROFILES, choose_profile, describe_profiles
from .references import Reference, ReferenceValue, load_reference, save_reference
from .setting import Backbone, Setting, SettingMismatch

__all__ = [
    'Backbone',
    'DEFAULT_PROFILES',
    'DeltaM',
    'ExactCounters',
    'MultiTaskEvaluator',
    'PROFILES',
    'Reference',
    'ReferenceValue',
    'Setting',
    'SettingMismatch',
    'best_constants',
    'choose_profile',
    'delta_m',
    'describe_profiles',
    'evaluate_files',
    'ground_truths',
    'load_reference',
    'read_prediction',
    'results_table',
    'save_reference',
    'score_constants',
    'task_gains',
    'write_prediction',
    *_metrics,
]
