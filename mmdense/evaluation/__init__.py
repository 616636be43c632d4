"""Metrics, the multi-task evaluator, and the functions that metrics are made of."""

from .boundary import (
    BoundaryProtocol,
    BoundaryScores,
    average_precision,
    best_counts,
    boundary_map,
    boundary_scores,
    count_matches,
    count_matches_plain,
    default_thresholds,
    f_measure,
    gt_boundaries,
    maximum_matching,
    precision_recall,
    quantize,
    suppress_non_maxima,
    thin,
    true_boundaries,
)
from .constant_predictor import best_constants, ground_truths, score_constants
from .counters import ExactCounters
from .delta_m import DeltaM, delta_m, task_gains
from .file_protocol import (
    normals_to_uint8,
    probability_to_uint8,
    uint8_to_normals,
    uint8_to_probability,
)
from .geometry import normals_from_depth
from .metrics import *  # noqa: F403
from .metrics import __all__ as _metrics
from .metrics.depth_metric import depth_scores, depth_sums
from .metrics.normal_metric import angular_error
from .multi_task_evaluator import MultiTaskEvaluator, results_table
from .prediction_files import evaluate_files, read_prediction, write_prediction
from .profiles import DEFAULT_PROFILES, PROFILES, choose_profile, describe_profiles
from .references import Reference, ReferenceValue, load_reference, save_reference
from .setting import Backbone, Setting, SettingMismatch

__all__ = [
    'Backbone',
    'BoundaryProtocol',
    'BoundaryScores',
    'DEFAULT_PROFILES',
    'DeltaM',
    'ExactCounters',
    'MultiTaskEvaluator',
    'PROFILES',
    'Reference',
    'ReferenceValue',
    'Setting',
    'SettingMismatch',
    'angular_error',
    'average_precision',
    'best_constants',
    'best_counts',
    'boundary_map',
    'boundary_scores',
    'choose_profile',
    'count_matches',
    'count_matches_plain',
    'default_thresholds',
    'delta_m',
    'depth_scores',
    'depth_sums',
    'describe_profiles',
    'evaluate_files',
    'f_measure',
    'ground_truths',
    'gt_boundaries',
    'load_reference',
    'maximum_matching',
    'normals_from_depth',
    'normals_to_uint8',
    'precision_recall',
    'probability_to_uint8',
    'quantize',
    'read_prediction',
    'results_table',
    'save_reference',
    'score_constants',
    'suppress_non_maxima',
    'task_gains',
    'thin',
    'true_boundaries',
    'uint8_to_normals',
    'uint8_to_probability',
    'write_prediction',
    *_metrics,
]
