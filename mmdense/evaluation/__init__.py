"""Metrics, the multi-task evaluator and the constant predictor they are held against."""

from .constant_predictor import best_constants, ground_truths, score_constants
from .counters import ExactCounters
from .metrics import *  # noqa: F403
from .metrics import __all__ as _metrics
from .multi_task_evaluator import MultiTaskEvaluator, results_table

__all__ = [
    'ExactCounters',
    'MultiTaskEvaluator',
    'best_constants',
    'ground_truths',
    'results_table',
    'score_constants',
    *_metrics,
]
