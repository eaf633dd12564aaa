"""`optimize.fused_optimizer`: update all parameters in one kernel."""

import copy
import inspect
from collections.abc import Mapping
from typing import Any

from mmopt.config.spelling import spelled
from mmopt.engine.switches.effect import Effect
from mmopt.registry import OPTIMIZERS

__all__ = ['fuse_optimizer']


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
    optimizer_class = OPTIMIZERS.get(kind) if isinstance(kind, str) else kind
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
