"""Hold the memory of the optimizer's state until its first step: that step must not be the one that finds none left.

Optimizers allocate their state inside their first step, after the first batch was found to fit. An error there leaves
half of the parameters stepped, which nothing can undo. So the bytes are taken before the first forward pass, and
given back to the allocator's cache right before the step that needs them.
"""

import copy
from collections import OrderedDict, defaultdict
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ['StateReserve', 'state_tensors']


def state_tensors(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Find out what an optimizer will allocate, by a step of its copy on the meta device.

    Args:
        optimizer: Any optimizer; it is not changed.

    Returns:
        Meta tensors, one per entry of the state after one step. Where the optimizer cannot step on the meta device
        (8-bit and other kernels of their own), two tensors like each parameter: what Adam has.
    """
    groups = [
        {**group, 'params': [_on_meta(param) for param in group['params']]} | _PLAIN_STEP
        for group in optimizer.param_groups
    ]
    params = [param for group in groups for param in group['params']]
    ghost = copy.copy(optimizer)
    vars(ghost).update(
        param_groups=groups,
        state=defaultdict(dict),
        _optimizer_step_pre_hooks=OrderedDict(),
        _optimizer_step_post_hooks=OrderedDict(),
    )
    try:
        # Not through profilers and hooks that others put around the step of the class.
        type(ghost).step(ghost)
    except Exception:  # an optimizer with kernels of its own may fail in any way
        return [torch.empty_like(param) for param in params for _ in range(2)]
    entries = [value for slots in ghost.state.values() for value in _tensors(slots)]
    return [value.to('meta') for value in entries if value.dim()]


# One loop over the parameters, no kernels that exist on a GPU only; what is stored is the same.
_PLAIN_STEP = dict(foreach=False, fused=False, capturable=False, differentiable=False)


def _on_meta(param: nn.Parameter) -> nn.Parameter:
    ghost = nn.Parameter(torch.empty_like(param, device='meta'), requires_grad=param.requires_grad)
    ghost.grad = torch.empty_like(ghost)
    return ghost


def _tensors(slots: Any) -> list[Tensor]:
    if isinstance(slots, Tensor):
        return [slots]
    values = slots.values() if isinstance(slots, dict) else slots if isinstance(slots, list | tuple) else ()
    return [tensor for value in values for tensor in _tensors(value)]


class StateReserve:
    """Take the memory of the state that an optimizer will allocate.

    Args:
        optimizer: The optimizer; with a state (a resumed run) nothing is taken.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._held: list[Tensor] = []
        if not optimizer.state:
            device = next(param.device for group in optimizer.param_groups for param in group['params'])
            self._held = [torch.empty_like(value, device=device) for value in state_tensors(optimizer)]

    @property
    def num_bytes(self) -> int:
        """Bytes that are held now."""
        return sum(tensor.nbytes for tensor in self._held)

    def release(self) -> None:
        """Give them back to the allocator, whose cache the step then takes them from."""
        self._held = []
