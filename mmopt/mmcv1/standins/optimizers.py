"""``build_optimizer`` and the constructors of parameter groups, over mmopt's."""

import copy
from collections.abc import Mapping
from typing import Any

from mmengine.registry import OPTIMIZERS
from torch import nn
from torch.optim import Optimizer

from mmopt.engine.optim.param_groups import iter_default_settings, plain_settings
from mmopt.mmcv1.registry import Registry, build_from_cfg

__all__ = [
    'OPTIMIZERS',
    'OPTIMIZER_BUILDERS',
    'DefaultOptimizerConstructor',
    'build_optimizer',
    'build_optimizer_constructor',
]

OPTIMIZER_BUILDERS = Registry('optimizer builder', scope='mmcv')


@OPTIMIZER_BUILDERS.register_module()
class DefaultOptimizerConstructor:
    """Give each parameter a group with the learning rate and weight decay that ``paramwise_cfg`` asks for.

    Args:
        optimizer_cfg: The optimizer's config.
        paramwise_cfg: Multipliers by kind of parameter and by name.

    Raises:
        TypeError: If a config is no dict.
    """

    def __init__(self, optimizer_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None) -> None:
        if not isinstance(optimizer_cfg, Mapping):
            raise TypeError(f'optimizer_cfg should be a dict, but got {type(optimizer_cfg)}')
        self.optimizer_cfg = optimizer_cfg
        self.paramwise_cfg = {} if paramwise_cfg is None else paramwise_cfg
        self.base_lr = optimizer_cfg.get('lr')
        self.base_wd = optimizer_cfg.get('weight_decay')
        self._validate_cfg()

    def _validate_cfg(self) -> None:
        if not isinstance(self.paramwise_cfg, Mapping):
            raise TypeError(f'paramwise_cfg should be None or a dict, but got {type(self.paramwise_cfg)}')
        decays = [key for key in self.paramwise_cfg if key.endswith('decay_mult')]
        if decays and self.base_wd is None:
            raise ValueError('base_wd should not be None')

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs: Any) -> None:
        """Append one group per parameter.

        Args:
            params: The groups.
            module: The model.
            prefix: Not used; a deriving class may.
            **kwargs: Not used.
        """
        del prefix, kwargs  # mmcv's signature
        settings = iter_default_settings(module, dict(self.paramwise_cfg), self.base_lr, self.base_wd)
        params.extend({'params': [setting.param], **setting.options} for setting in settings)

    def __call__(self, model: nn.Module) -> Optimizer:
        model = getattr(model, 'module', model)
        cfg = dict(copy.deepcopy(dict(self.optimizer_cfg)))
        if not self.paramwise_cfg:
            cfg['params'] = [setting.param for setting in plain_settings(model)]
        else:
            cfg['params'] = []
            self.add_params(cfg['params'], model)
        kind = cfg.pop('type')
        return (OPTIMIZERS.get(kind) if isinstance(kind, str) else kind)(**cfg)


def build_optimizer_constructor(cfg: Mapping[str, Any]) -> Any:
    """Build a constructor by its name."""
    return build_from_cfg(cfg, OPTIMIZER_BUILDERS)


def build_optimizer(model: nn.Module, cfg: Mapping[str, Any]) -> Optimizer:
    """Build the optimizer of a model.

    Args:
        model: Without or with a wrapper.
        cfg: The optimizer's config; ``constructor`` and ``paramwise_cfg`` as in mmcv.

    Returns:
        The optimizer.
    """
    optimizer_cfg = copy.deepcopy(dict(cfg))
    constructor = optimizer_cfg.pop('constructor', 'DefaultOptimizerConstructor')
    paramwise_cfg = optimizer_cfg.pop('paramwise_cfg', None)
    return build_optimizer_constructor(
        dict(type=constructor, optimizer_cfg=optimizer_cfg, paramwise_cfg=paramwise_cfg)
    )(model)
