"""The boundary benchmark as pure functions: one file per step.

Suppress non-maxima, threshold, thin, match with the truth within a tolerance, count; then
sum the counters over pictures and score them.
"""

from mmdense.utils.thinning import thin, thin_levels

from .counts import (
    COLUMNS,
    BoundaryProtocol,
    boundary_map,
    count_matches,
    count_matches_plain,
    count_thinned,
    count_thinned_plain,
    default_thresholds,
    distinct_maps,
    gt_boundaries,
    thin_plain,
    thresholds_reached,
    true_boundaries,
)
from .matching import Candidates, disc_offsets, find_candidates, maximum_matching
from .nms import quantize, suppress_non_maxima
from .scores import (
    BoundaryScores,
    average_precision,
    best_counts,
    boundary_scores,
    f_measure,
    precision_recall,
)
from .sweep import MatchingSweep

__all__ = [
    'COLUMNS',
    'BoundaryProtocol',
    'BoundaryScores',
    'Candidates',
    'MatchingSweep',
    'average_precision',
    'best_counts',
    'boundary_map',
    'boundary_scores',
    'count_matches',
    'count_matches_plain',
    'count_thinned',
    'count_thinned_plain',
    'default_thresholds',
    'disc_offsets',
    'distinct_maps',
    'f_measure',
    'find_candidates',
    'gt_boundaries',
    'maximum_matching',
    'precision_recall',
    'quantize',
    'suppress_non_maxima',
    'thin',
    'thin_levels',
    'thin_plain',
    'thresholds_reached',
    'true_boundaries',
]
