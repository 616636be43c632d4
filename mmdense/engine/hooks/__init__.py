"""Hooks: one file each."""

from .atomic_checkpoint_hook import AtomicCheckpointHook
from .balancer_hook import BalancerHook
from .finite_loss_hook import FiniteLossHook
from .genotype_search_hook import GenotypeSearchHook
from .gradient_diagnostics_hook import GradientDiagnosticsHook
from .iteration_seed_hook import IterationSeedHook
from .load_report_hook import LoadReportHook
from .loss_balancer_hook import LossBalancerHook
from .norm_eval_hook import NormEvalHook
from .results_hook import ResultsHook
from .save_predictions_hook import SavePredictionsHook
from .skipped_pictures_hook import SkippedPicturesHook
from .visualization_hook import DenseVisualizationHook

__all__ = [
    'AtomicCheckpointHook',
    'BalancerHook',
    'DenseVisualizationHook',
    'FiniteLossHook',
    'GenotypeSearchHook',
    'GradientDiagnosticsHook',
    'IterationSeedHook',
    'LoadReportHook',
    'LossBalancerHook',
    'NormEvalHook',
    'ResultsHook',
    'SavePredictionsHook',
    'SkippedPicturesHook',
]
