"""Metrics, the multi-task evaluator and the constant predictor they are held against."""

from .constant_predictor import best_constants, ground_truths, score_constants
from .counters import ExactCounters
from .metrics import *  # noqa: F403
from .metrics import __all__ as _metrics
from .multi_task_evaluator import MultiTaskEvaluator, results_table
from .prediction_files import evaluate_files, read_prediction, write_prediction
from .profiles import DEFAULT_PROFILES, PROFILES, choose_profile, describe_profiles

__all__ = [
    'DEFAULT_PROFILES',
    'PROFILES',
    'ExactCounters',
    'MultiTaskEvaluator',
    'best_constants',
    'choose_profile',
    'describe_profiles',
    'evaluate_files',
    'ground_truths',
    'read_prediction',
    'results_table',
    'score_constants',
    'write_prediction',
    *_metrics,
]
