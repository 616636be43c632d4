"""Loss balancers: several task losses to one scalar."""

from .base import BaseBalancer, Combination, TaskMeans, Terms, find_balancer
from .dynamic_task_prioritization import DynamicTaskPrioritization
from .dynamic_weight_average import DynamicWeightAverage
from .epoch_means import EpochMeans
from .equal_weights import EqualWeights
from .famo import FAMO
from .fixed_weights import FixedWeights
from .geometric_loss import GeometricLoss
from .imtl_l import IMTLL
from .loss_prioritization import LossPrioritization
from .random_weights import RandomWeights
from .smooth_tchebycheff import SmoothTchebycheff
from .step import StepLosses, balance_step, is_auxiliary
from .uncertainty_weights import UncertaintyWeights

__all__ = [
    'FAMO',
    'IMTLL',
    'BaseBalancer',
    'Combination',
    'DynamicTaskPrioritization',
    'DynamicWeightAverage',
    'EpochMeans',
    'EqualWeights',
    'FixedWeights',
    'GeometricLoss',
    'LossPrioritization',
    'RandomWeights',
    'SmoothTchebycheff',
    'StepLosses',
    'TaskMeans',
    'Terms',
    'UncertaintyWeights',
    'balance_step',
    'find_balancer',
    'is_auxiliary',
]
