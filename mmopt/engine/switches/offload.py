"""`optimize.offload`: keep activations in host memory between the forward and the backward pass.

On CUDA the copies go to page-locked memory and are queued behind the kernels that need them, so the host never waits;
they cost the bandwidth of the bus. Weights stay where they are (torch's ``save_on_cpu`` would copy them as well), and
so does what is too small to be worth a copy.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef

from mmopt.engine.switches.blocks import find_blocks, match_modules
from mmopt.engine.switches.effect import Effect
from mmopt.utils.memory import page_locked
from mmopt.utils.mps import copies_in_order
from mmopt.utils.placement import device_of

__all__ = ['Offload', 'offload']

_MIN_BYTES = 1024**2
"""Below this a copy costs more in launching than it frees."""


def offload(model: nn.Module, value: Any) -> Effect:
    """Offload what modules save for their backward pass, in place.

    Args:
        model: The model, on its device.
        value: True for the repeated blocks, or for the whole model where it has none; a pattern or a list of patterns
            (see :func:`match_modules`).

    Returns:
        What is offloaded.
    """
    if value is False:
        return Effect('off')
    if value is True:
        modules = find_blocks(model) or {type(model).__name__: model}
    else:
        patterns = [value] if isinstance(value, str) else list(value)
        modules = match_modules(model, patterns)
        if not modules:
            candidates = list(find_blocks(model)) or [name for name, _ in model.named_children()]
            return Effect(f'matched no module: patterns {patterns}, candidates {candidates[:8]}', is_effective=False)
    device = device_of(model)
    if device.type == 'cpu':
        return Effect('activations of a model on the CPU are in host memory already', is_effective=False)
    offload_modules(modules)
    return Effect(f'{len(modules)} modules ({next(iter(modules))}, ...)')


def offload_modules(modules: Mapping[str, nn.Module], min_bytes: int = _MIN_BYTES) -> None:
    """Offload what modules save, in place; names of parameters and classes stay."""
    for module in modules.values():
        # A bound method and not a closure: a copy of the model (EMA) then runs the copy's weights.
        module.forward = functools.partial(_forward, module.forward, min_bytes)


def _forward(forward: Callable, min_bytes: int, *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    with Offload(min_bytes):
        return forward(*args, **kwargs)


class _OnHost(NamedTuple):
    """A tensor that was copied away."""

    copy: Tensor
    device: torch.device


class Offload(saved_tensors_hooks):
    """Copy tensors that autograd saves to host memory, each once however many operators save it.

    Args:
        min_bytes: Smaller tensors stay.
    """

    def __init__(self, min_bytes: int = _MIN_BYTES) -> None:
        self.num_bytes = 0
        """Bytes that were copied away."""
        self._min_bytes = min_bytes
        self._copies: dict[tuple, tuple[StorageWeakRef, _OnHost]] = {}
        super().__init__(self._pack, self._unpack)

    def __enter__(self) -> Self:  # type: ignore[override]  # torch's returns nothing; `with ... as hooks` needs it
        super().__enter__()
        return self

    def __exit__(self, *args: Any) -> None:
        super().__exit__(*args)
        self._copies.clear()  # autograd holds what it needs

    def _pack(self, tensor: Tensor) -> Tensor | _OnHost:
        storage = tensor.untyped_storage()
        # Weights and their transposes and views stay; so do expanded tensors, whose copy would be larger than they are.
        base = tensor._base if tensor._base is not None else tensor
        if isinstance(base, nn.Parameter) or tensor.nbytes < self._min_bytes or tensor.nbytes > storage.nbytes():
            return tensor
        key = (storage._cdata, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor._version)
        known = self._copies.get(key)
        if known is not None and not known[0].expired():  # an address may be given out again
            return known[1]
        with page_locked(tensor.nbytes, 'Offload fewer modules (optimize.offload), or smaller parts of a batch.'):
            copy = torch.empty_like(tensor, device='cpu', pin_memory=tensor.is_cuda)
        copy.copy_(tensor, non_blocking=copies_in_order(tensor.device))
        self.num_bytes += copy.nbytes
        packed = _OnHost(copy, tensor.device)
        self._copies[key] = (StorageWeakRef(storage), packed)
        return packed

    def _unpack(self, packed: Tensor | _OnHost) -> Tensor:
        if isinstance(packed, Tensor):
            return packed
        return packed.copy.to(packed.device, non_blocking=True)
