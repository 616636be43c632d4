"""Registries of mmdense, children of the ones in mmengine.

``type='mmdense.X'`` resolves in any OpenMMLab config: mmengine imports this
module by the scope prefix, and each registry imports its ``locations`` on first
use. Two registries are new here: ``TASKS`` (what a dense map is) and
``BALANCERS`` (how several losses become one scalar).
"""

from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import EVALUATOR as MMENGINE_EVALUATORS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import INFERENCERS as MMENGINE_INFERENCERS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import (
    OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
)
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import PARAM_SCHEDULERS as MMENGINE_PARAM_SCHEDULERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import Registry

TASKS = Registry('task', scope='mmdense', locations=['mmdense.tasks'])
BALANCERS = Registry('balancer', scope='mmdense', locations=['mmdense.models.balancers'])

MODELS = Registry('model', parent=MMENGINE_MODELS, scope='mmdense', locations=['mmdense.models'])
DATASETS = Registry(
    'dataset', parent=MMENGINE_DATASETS, scope='mmdense', locations=['mmdense.datasets']
)
DATA_SAMPLERS = Registry(
    'data sampler', parent=MMENGINE_DATA_SAMPLERS, scope='mmdense', locations=['mmdense.datasets']
)
TRANSFORMS = Registry(
    'transform',
    parent=MMENGINE_TRANSFORMS,
    scope='mmdense',
    locations=['mmdense.datasets.transforms'],
)
METRICS = Registry(
    'metric', parent=MMENGINE_METRICS, scope='mmdense', locations=['mmdense.evaluation']
)
EVALUATORS = Registry(
    'evaluator', parent=MMENGINE_EVALUATORS, scope='mmdense', locations=['mmdense.evaluation']
)
HOOKS = Registry('hook', parent=MMENGINE_HOOKS, scope='mmdense', locations=['mmdense.engine.hooks'])
LOOPS = Registry('loop', parent=MMENGINE_LOOPS, scope='mmdense', locations=['mmdense.engine'])
OPTIM_WRAPPERS = Registry(
    'optim wrapper',
    parent=MMENGINE_OPTIM_WRAPPERS,
    scope='mmdense',
    locations=['mmdense.engine.optim_wrappers'],
)
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optim wrapper constructor',
    parent=MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
    scope='mmdense',
    locations=['mmdense.engine.optim_wrappers'],
)
PARAM_SCHEDULERS = Registry(
    'parameter scheduler',
    parent=MMENGINE_PARAM_SCHEDULERS,
    scope='mmdense',
    locations=['mmdense.engine'],
)
VISUALIZERS = Registry(
    'visualizer', parent=MMENGINE_VISUALIZERS, scope='mmdense', locations=['mmdense.visualization']
)
INFERENCERS = Registry(
    'inferencer', parent=MMENGINE_INFERENCERS, scope='mmdense', locations=['mmdense.apis']
)
