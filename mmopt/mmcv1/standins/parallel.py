"""``MMDataParallel`` and ``MMDistributedDataParallel`` for code that wraps and unwraps models itself."""

from typing import Any

import torch
from mmengine.registry import MODEL_WRAPPERS
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from mmopt.mmcv1.registry import Registry
from mmopt.mmcv1.standins.collate import scatter
from mmopt.utils.placement import device_of

__all__ = ['MODULE_WRAPPERS', 'MMDataParallel', 'MMDistributedDataParallel', 'is_module_wrapper']

MODULE_WRAPPERS = Registry('module wrapper', scope='mmcv')
for _wrapper in (DataParallel, DistributedDataParallel):
    MODULE_WRAPPERS.register_module(module=_wrapper)


@MODULE_WRAPPERS.register_module()
class MMDataParallel(nn.Module):
    """A model on one device that takes batches with or without containers.

    Args:
        module: The model.
        device_ids: One device or its number; None: where the model is.
        dim: Must be 0.
        output_device: Kept as an attribute: there is one device.

    Raises:
        ValueError: If there is more than one device.
    """

    def __init__(self, module: nn.Module, device_ids: Any = None, dim: int = 0, output_device: Any = None) -> None:
        super().__init__()
        self.output_device = output_device
        ids = [device_ids] if isinstance(device_ids, int) else list(device_ids or [])
        if len(ids) > 1:
            raise ValueError(f'MMDataParallel(device_ids={ids}): one process drives one device; start one per GPU.')
        self.module: Any = module
        self.dim = dim
        self.device_ids = ids

    def _unwrapped(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        parameter = next(self.module.parameters(), None)
        device: Any = torch.device('cpu') if parameter is None else parameter.device
        return tuple(scatter(list(args), [device], self.dim)[0]), scatter(kwargs, [device], self.dim)[0]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model with a batch on its device."""
        args, kwargs = self._unwrapped(args, kwargs)
        return self.module(*args, **kwargs)

    def train_step(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model's ``train_step``."""
        args, kwargs = self._unwrapped(args, kwargs)
        return self.module.train_step(*args, **kwargs)

    def val_step(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model's ``val_step``."""
        args, kwargs = self._unwrapped(args, kwargs)
        return self.module.val_step(*args, **kwargs)


@MODULE_WRAPPERS.register_module()
class MMDistributedDataParallel(DistributedDataParallel):
    """torch's wrapper for batches with containers; a step goes through ``forward``, where gradients are reduced."""

    def _unwrapped(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        device: Any = device_of(self.module)
        return tuple(scatter(list(args), [device])[0]), scatter(kwargs, [device])[0]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model with a batch on its device."""
        args, kwargs = self._unwrapped(args, kwargs)
        return super().forward(*args, **kwargs)

    def train_step(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model's ``train_step`` as a forward pass of the wrapper."""
        return self._step('train_step', args, kwargs)

    def val_step(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model's ``val_step`` as a forward pass of the wrapper."""
        return self._step('val_step', args, kwargs)

    def _step(self, name: str, args: tuple, kwargs: dict) -> Any:
        module: Any = self.module
        plain_forward = module.forward
        # The wrapper's own forward prepares the reduction of gradients; what it calls is exchanged meanwhile.
        module.forward = getattr(module, name)
        inner = getattr(module, name)

        def run(*inner_args: Any, **inner_kwargs: Any) -> Any:
            module.forward = plain_forward
            return inner(*inner_args, **inner_kwargs)

        module.forward = run
        try:
            return self(*args, **kwargs)
        finally:
            vars(module).pop('forward', None)


def is_module_wrapper(module: nn.Module) -> bool:
    """Tell whether a module wraps a model: one of mmcv 1.x's, of MMEngine's or of a repository's own."""

    def is_in(registry: Registry) -> bool:
        if isinstance(module, tuple(registry.module_dict.values())):
            return True
        return any(is_in(child) for child in registry.children.values())

    return is_in(MODULE_WRAPPERS) or isinstance(module, tuple(MODEL_WRAPPERS.module_dict.values()))
