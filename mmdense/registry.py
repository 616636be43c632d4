"""Registries of mmdense, children of the ones in mmengine.

``type='mmdense.X'`` resolves in any OpenMMLab config: mmengine imports this
module by the scope prefix, and each registry imports its ``locations`` on first
use. Three registries are new here: ``TASKS`` (what a dense map is), ``BALANCERS``
(how several losses become one scalar) and ``AGGREGATORS`` (how several gradients
become one).
"""

from mmengine import registry as root
from mmengine.registry import Registry


def _child(parent: Registry, *locations: str) -> Registry:
    """A registry below one of mmengine's, filled by importing ``locations`` on first use."""
    return Registry(parent.name, parent=parent, scope='mmdense', locations=list(locations))


TASKS = Registry('task', scope='mmdense', locations=['mmdense.tasks'])
BALANCERS = Registry('balancer', scope='mmdense', locations=['mmdense.models.balancers'])
AGGREGATORS = Registry('aggregator', scope='mmdense', locations=['mmdense.engine.optim_wrappers'])

MODELS = _child(root.MODELS, 'mmdense.models')
DATASETS = _child(root.DATASETS, 'mmdense.datasets')
DATA_SAMPLERS = _child(root.DATA_SAMPLERS, 'mmdense.datasets')
TRANSFORMS = _child(root.TRANSFORMS, 'mmdense.datasets.transforms')
METRICS = _child(root.METRICS, 'mmdense.evaluation')
EVALUATORS = _child(root.EVALUATOR, 'mmdense.evaluation')
HOOKS = _child(root.HOOKS, 'mmdense.engine.hooks')
OPTIM_WRAPPERS = _child(root.OPTIM_WRAPPERS, 'mmdense.engine.optim_wrappers')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    root.OPTIM_WRAPPER_CONSTRUCTORS, 'mmdense.engine.optim_wrappers'
)
PARAM_SCHEDULERS = _child(root.PARAM_SCHEDULERS, 'mmdense.engine')
VISUALIZERS = _child(root.VISUALIZERS, 'mmdense.visualization')
INFERENCERS = _child(root.INFERENCERS, 'mmdense.apis.inferencer')

# Nothing of its own yet. mmengine looks for a child of every root in the default scope and
# warns where there is none.
OPTIMIZERS = _child(root.OPTIMIZERS)
LOOPS = _child(root.LOOPS)
RUNNERS = _child(root.RUNNERS)
MODEL_WRAPPERS = _child(root.MODEL_WRAPPERS)
WEIGHT_INITIALIZERS = _child(root.WEIGHT_INITIALIZERS)
VISBACKENDS = _child(root.VISBACKENDS)
LOG_PROCESSORS = _child(root.LOG_PROCESSORS)
TASK_UTILS = _child(root.TASK_UTILS)
