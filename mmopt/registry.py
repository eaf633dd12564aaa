"""Registry nodes of mmopt: children of MMEngine's roots, filled on first use.

MMEngine imports ``mmopt.registry`` by this very name when a config says ``default_scope = 'mmopt'``. ``locations``
lists the packages to import at the first look-up, so no config needs ``custom_imports``.
"""

from mmengine.registry import DATA_SAMPLERS as _ROOT_DATA_SAMPLERS
from mmengine.registry import DATASETS as _ROOT_DATASETS
from mmengine.registry import EVALUATOR as _ROOT_EVALUATOR
from mmengine.registry import FUNCTIONS as _ROOT_FUNCTIONS
from mmengine.registry import HOOKS as _ROOT_HOOKS
from mmengine.registry import LOG_PROCESSORS as _ROOT_LOG_PROCESSORS
from mmengine.registry import LOOPS as _ROOT_LOOPS
from mmengine.registry import METRICS as _ROOT_METRICS
from mmengine.registry import MODEL_WRAPPERS as _ROOT_MODEL_WRAPPERS
from mmengine.registry import MODELS as _ROOT_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as _ROOT_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as _ROOT_OPTIM_WRAPPERS
from mmengine.registry import OPTIMIZERS as _ROOT_OPTIMIZERS
from mmengine.registry import PARAM_SCHEDULERS as _ROOT_PARAM_SCHEDULERS
from mmengine.registry import RUNNERS as _ROOT_RUNNERS
from mmengine.registry import TRANSFORMS as _ROOT_TRANSFORMS
from mmengine.registry import VISBACKENDS as _ROOT_VISBACKENDS
from mmengine.registry import VISUALIZERS as _ROOT_VISUALIZERS
from mmengine.registry import WEIGHT_INITIALIZERS as _ROOT_WEIGHT_INITIALIZERS
from mmengine.registry import Registry

__all__ = [
    'DATASETS',
    'DATA_SAMPLERS',
    'EVALUATOR',
    'FUNCTIONS',
    'HOOKS',
    'LOG_PROCESSORS',
    'LOOPS',
    'METRICS',
    'MODELS',
    'MODEL_WRAPPERS',
    'OPTIMIZERS',
    'OPTIM_WRAPPERS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'PARAM_SCHEDULERS',
    'RUNNERS',
    'TRANSFORMS',
    'VISBACKENDS',
    'VISUALIZERS',
    'WEIGHT_INITIALIZERS',
]


def _node(root: Registry, location: str) -> Registry:
    return Registry(root.name, parent=root, scope='mmopt', locations=[location])


DATASETS = _node(_ROOT_DATASETS, 'mmopt.datasets')
DATA_SAMPLERS = _node(_ROOT_DATA_SAMPLERS, 'mmopt.datasets')
FUNCTIONS = _node(_ROOT_FUNCTIONS, 'mmopt.datasets')  # collate and worker_init functions
TRANSFORMS = _node(_ROOT_TRANSFORMS, 'mmopt.datasets')
MODELS = _node(_ROOT_MODELS, 'mmopt.models')
EVALUATOR = _node(_ROOT_EVALUATOR, 'mmopt.evaluation')
METRICS = _node(_ROOT_METRICS, 'mmopt.evaluation')
HOOKS = _node(_ROOT_HOOKS, 'mmopt.engine')
LOG_PROCESSORS = _node(_ROOT_LOG_PROCESSORS, 'mmopt.engine')
LOOPS = _node(_ROOT_LOOPS, 'mmopt.engine')
OPTIMIZERS = _node(_ROOT_OPTIMIZERS, 'mmopt.engine')
OPTIM_WRAPPERS = _node(_ROOT_OPTIM_WRAPPERS, 'mmopt.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _node(_ROOT_OPTIM_WRAPPER_CONSTRUCTORS, 'mmopt.engine')
PARAM_SCHEDULERS = _node(_ROOT_PARAM_SCHEDULERS, 'mmopt.engine')
RUNNERS = _node(_ROOT_RUNNERS, 'mmopt.engine')
# Nothing of ours is in these yet; without a node of the scope MMEngine warns at each look-up.
MODEL_WRAPPERS = _node(_ROOT_MODEL_WRAPPERS, 'mmopt.engine')
WEIGHT_INITIALIZERS = _node(_ROOT_WEIGHT_INITIALIZERS, 'mmopt.models')
VISUALIZERS = _node(_ROOT_VISUALIZERS, 'mmopt.engine')
VISBACKENDS = _node(_ROOT_VISBACKENDS, 'mmopt.engine')
