"""Registry nodes of mmopt: children of MMEngine's roots, filled on first use.

MMEngine imports ``mmopt.registry`` by this very name when a config says ``default_scope = 'mmopt'``. ``locations``
lists the packages to import at the first look-up, so no config needs ``custom_imports``.

A name of a config is looked up in the config's ``default_scope`` first, then in MMEngine, then in mmopt. Where that
finds a class of MMEngine itself and mmopt has one of the same name, mmopt's is taken: it does the same and more.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from mmengine.config.utils import MODULE2PACKAGE
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
from mmengine.registry import DefaultScope, Registry
from mmengine.registry import root as _root

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
    'Node',
    'is_known_scope',
]

SCOPE = 'mmopt'


class Node(Registry):
    """A registry of mmopt whose look-up knows the scope of the config that runs.

    ``build`` and ``get`` of such a node serve every scope: with ``default_scope = 'mmseg'`` they find what MMEngine's
    own would find, and mmopt's types besides. A name of mmopt's own is asked for as ``'mmopt.Name'``.
    """

    @contextmanager
    def switch_scope_and_registry(self, scope: str | None) -> Iterator['Node']:
        """Enter a scope, with this registry, which looks into it.

        Args:
            scope: The ``_scope_`` of a config; None for the one that holds already.

        Yields:
            Node: This registry. MMEngine's yields that of the scope, which would not find mmopt's types.
        """
        with DefaultScope.overwrite_default_scope(scope):
            yield self

    def get(self, key: str) -> Any:
        """Look a type up.

        Args:
            key: A name; with a scope before it (``'mmseg.FCNHead'``) it is looked up there alone. Dotted paths of
                modules serve as well.

        Returns:
            The type; None if there is none.
        """
        scope, name = self.split_scope_key(key)
        current = DefaultScope.get_current_instance()
        if scope is not None or current is None or current.scope_name == SCOPE:
            return self.instead_of(super().get(key))
        found = self._of_user(current.scope_name, name)
        return super().get(key) if found is None else self.instead_of(found)

    def instead_of(self, kind: Any) -> Any:
        """Return mmopt's class of the same name for one of MMEngine's own; anything else as it is."""
        if getattr(kind, '__module__', '').partition('.')[0] != 'mmengine':
            return kind
        self.import_from_location()
        return self._module_dict.get(kind.__name__, kind)

    def resolve(self, cfg: Any) -> Any:
        """Look the type of a config up, for code of MMEngine that would build it in its own registries.

        Args:
            cfg: A config with a ``type``, or something that is built already.

        Returns:
            A config whose type is a class. Where nothing is found, ``cfg`` itself: MMEngine says what is missing.
        """
        if not isinstance(cfg, Mapping) or cfg.get('type') is None:
            return cfg
        kind = cfg['type']
        with DefaultScope.overwrite_default_scope(cfg.get('_scope_')):
            found = self.get(kind) if isinstance(kind, str) else self.instead_of(kind)
        return cfg if found is None else {**cfg, 'type': found}

    def _of_user(self, scope: str, name: str) -> Any:
        """Look into a scope, and from there upwards to MMEngine's root."""
        root = self._get_root_registry()
        try:
            import_module(f'{scope}.registry')
        except ModuleNotFoundError as error:
            # A scope without such a module has registered by itself, as projects do; one that is there must import.
            if error.name not in (scope, f'{scope}.registry'):
                raise
        registry: Registry | None = root._search_child(scope)
        if registry is None:  # one that is empty yet is false, too
            registry = root
        while registry is not None:
            if not registry._imported and not registry._locations and registry.scope in MODULE2PACKAGE:
                # MMEngine imports it, too, and where that fails says only that a type is not known.
                import_module(f'{registry.scope}.utils')
            try:
                registry.import_from_location()
            except ModuleNotFoundError as error:
                # It names a module that is not there, as MMAction2's registry of functions does.
                if error.name not in registry._locations:
                    raise
            if name in registry.module_dict:
                return registry.module_dict[name]
            registry = registry.parent
        return None


def is_known_scope(scope: str) -> bool:
    """Tell whether a scope is a package that can be imported, or something is registered for it already."""
    if scope in (SCOPE, 'mmengine') or _is_module(scope):
        return True
    roots = [registry for registry in vars(_root).values() if isinstance(registry, Registry)]
    return any(registry._search_child(scope) is not None for registry in roots)


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):  # a part of it is missing; what runs as a script says nothing of itself
        return False


def _node(root: Registry, location: str) -> Node:
    return Node(root.name, parent=root, scope=SCOPE, locations=[location])


DATASETS = _node(_ROOT_DATASETS, 'mmopt.datasets')
DATA_SAMPLERS = _node(_ROOT_DATA_SAMPLERS, 'mmopt.datasets')
FUNCTIONS = _node(_ROOT_FUNCTIONS, 'mmopt.datasets')  # collate and worker_init functions
TRANSFORMS = _node(_ROOT_TRANSFORMS, 'mmopt.datasets')
MODELS = _node(_ROOT_MODELS, 'mmopt.models')
EVALUATOR = _node(_ROOT_EVALUATOR, 'mmopt.evaluation')
METRICS = _node(_ROOT_METRICS, 'mmopt.evaluation')
HOOKS = _node(_ROOT_HOOKS, 'mmopt.engine.registered')
LOG_PROCESSORS = _node(_ROOT_LOG_PROCESSORS, 'mmopt.engine.registered')
LOOPS = _node(_ROOT_LOOPS, 'mmopt.engine.registered')
OPTIMIZERS = _node(_ROOT_OPTIMIZERS, 'mmopt.engine.registered')
OPTIM_WRAPPERS = _node(_ROOT_OPTIM_WRAPPERS, 'mmopt.engine.registered')
OPTIM_WRAPPER_CONSTRUCTORS = _node(_ROOT_OPTIM_WRAPPER_CONSTRUCTORS, 'mmopt.engine.registered')
PARAM_SCHEDULERS = _node(_ROOT_PARAM_SCHEDULERS, 'mmopt.engine.registered')
RUNNERS = _node(_ROOT_RUNNERS, 'mmopt.engine.registered')
# Nothing of ours is in these yet; without a node of the scope MMEngine warns at each look-up.
MODEL_WRAPPERS = _node(_ROOT_MODEL_WRAPPERS, 'mmopt.engine.registered')
WEIGHT_INITIALIZERS = _node(_ROOT_WEIGHT_INITIALIZERS, 'mmopt.models')
VISUALIZERS = _node(_ROOT_VISUALIZERS, 'mmopt.engine.registered')
VISBACKENDS = _node(_ROOT_VISBACKENDS, 'mmopt.engine.registered')
