"""`optimize.fused_optimizer`: update all parameters in one kernel."""

import copy
import inspect
from collections.abc import Mapping
from typing import Any

from mmopt.config.precision import resolve_precision
from mmopt.config.spelling import spelled
from mmopt.engine.switches.effect import Effect
from mmopt.registry import OPTIMIZERS
from mmopt.utils.precision import ComputeDevice

__all__ = ['fuse_for_loss_scale', 'fuse_optimizer']


def fuse_optimizer(optim_wrapper: Mapping[str, Any], value: bool) -> tuple[dict[str, Any], Effect]:
    """Ask for the fused kernel of an optimizer, where torch has one.

    Args:
        optim_wrapper: The section of a lowered config; is not changed.
        value: Whether to use it.

    Returns:
        The section to build, and what was done. An optimizer whose config says ``fused`` itself keeps its word.
    """
    wrapper = copy.deepcopy(dict(optim_wrapper))
    optimizer = wrapper.get('optimizer')
    if not isinstance(optimizer, Mapping):
        return wrapper, Effect('there are several optimizers: write fused=True into each', is_effective=False)
    kind = optimizer.get('type')
    optimizer_class = _class_of(optimizer)
    if optimizer_class is None or 'fused' not in inspect.signature(optimizer_class).parameters:
        return wrapper, Effect(f'torch has no fused {kind}', is_effective=False)
    if 'fused' in optimizer:
        return wrapper, Effect(f'{spelled("optim_wrapper.optimizer.fused")}={optimizer["fused"]} says so itself')
    if optimizer.get('foreach') and value:
        return wrapper, Effect(
            f'{spelled("optim_wrapper.optimizer.foreach")}=True excludes it: drop foreach', is_effective=False
        )
    wrapper['optimizer'] = dict(optimizer, fused=value)
    return wrapper, Effect(f'fused {kind}' if value else 'off')


def fuse_for_loss_scale(
    optim_wrapper: Mapping[str, Any], device: ComputeDevice
) -> tuple[dict[str, Any], Effect | None]:
    """Fuse an optimizer of fp16 on a GPU whose config does not say how it computes its step.

    torch's loss scaler leaves out a step with an infinite gradient. Only a fused kernel looks that up on the device;
    for any other the host reads it, and waits in every iteration for the whole backward pass.

    Args:
        optim_wrapper: The section of a lowered config; is not changed.
        device: What the run computes on.

    Returns:
        The section to build, and what was done; None where nothing was.
    """
    wrapper = dict(optim_wrapper)
    optimizer = wrapper.get('optimizer')
    says_so = ('fused', 'foreach', 'differentiable')
    if not isinstance(optimizer, Mapping) or any(optimizer.get(key) is not None for key in says_so):
        return wrapper, None
    optimizer_class = _class_of(optimizer)
    if not getattr(optimizer_class, '__module__', '').startswith('torch.optim.'):
        return wrapper, None
    if device.kind != 'cuda' or resolve_precision(wrapper, device) != 'fp16':
        return wrapper, None
    fused, effect = fuse_optimizer(wrapper, True)
    if not effect.is_effective:
        return wrapper, None
    return fused, Effect(f'{effect.text}, so that no step waits for the check of the loss scale')


def _class_of(optimizer: Mapping[str, Any]) -> Any:
    kind = optimizer.get('type')
    return OPTIMIZERS.get(kind) if isinstance(kind, str) else kind
