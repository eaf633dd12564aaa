"""Several optimizers, one per part of a model, as generative models of mmcv 1.x have them."""

from collections.abc import Mapping
from typing import Any

from mmengine.optim import OptimWrapperDict
from torch import nn

from mmopt.engine.optim import OptimWrapper
from mmopt.mmcv1.standins.optimizers import build_optimizer
from mmopt.registry import OPTIM_WRAPPER_CONSTRUCTORS

__all__ = ['MMCV1OptimizersConstructor', 'MMCV1RepositoryConstructor']


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MMCV1OptimizersConstructor:
    """Build one optimizer per named part of the model.

    Args:
        optim_wrapper_cfg: ``optimizers``: name of a part -> the optimizer's config.
        paramwise_cfg: Must be None: each optimizer's config has its own.

    Raises:
        ValueError: If it is not.
    """

    def __init__(self, optim_wrapper_cfg: Mapping[str, Any], paramwise_cfg: Any = None) -> None:
        if paramwise_cfg is not None:
            raise ValueError('paramwise_cfg belongs into the config of each optimizer where there are several.')
        self.optimizers = optim_wrapper_cfg['optimizers']

    def __call__(self, model: nn.Module) -> OptimWrapperDict:
        """Build them.

        Args:
            model: Without or with a wrapper.

        Returns:
            A wrapper of wrappers, by part.
        """
        model = getattr(model, 'module', model)
        built = {name: build_optimizer(getattr(model, name), cfg) for name, cfg in self.optimizers.items()}
        return OptimWrapperDict(**{name: OptimWrapper(optimizer) for name, optimizer in built.items()})


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MMCV1RepositoryConstructor:
    """Let a constructor of the repository make the parameter groups.

    Args:
        optim_wrapper_cfg: mmopt's section.
        paramwise_cfg: The name of that ``constructor``, and the ``paramwise_cfg`` that it takes.
    """

    def __init__(self, optim_wrapper_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None) -> None:
        self.cfg = dict(optim_wrapper_cfg)
        self.optimizer = dict(self.cfg.pop('optimizer'))
        self.own = dict(paramwise_cfg or {})

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer and mmopt's wrapper around it.

        Args:
            model: Without or with a wrapper.

        Returns:
            The wrapper.
        """
        from mmopt.registry import OPTIM_WRAPPERS

        optimizer = build_optimizer(getattr(model, 'module', model), self.optimizer | self.own)
        return OPTIM_WRAPPERS.build({'type': 'OptimWrapper', **self.cfg, 'optimizer': optimizer})
