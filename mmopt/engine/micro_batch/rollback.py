"""Undo a training step that failed half-way: gradients, buffers and random state as before it.

The loss scaler, the accumulation count, the optimizer and the schedulers change after the last micro-batch only, and
the scalars for the log belong to an attempt: nothing of them needs undoing.
"""

import torch
from torch import Tensor, nn

from mmopt.engine.checkpoint_io import rng_state, set_rng_state
from mmopt.utils.memory import page_locked
from mmopt.utils.mps import copies_in_order
from mmopt.utils.transfer import copy_all

__all__ = ['StepSnapshot']


class StepSnapshot:
    """Keep what a forward and backward pass change.

    Buffers (BatchNorm's statistics) are copied on their device. Gradients exist before an iteration only within an
    accumulation window; from a GPU they are copied to page-locked host memory, where they cost the run nothing that it
    is short of. The copies are made once and reused.

    Args:
        module: The model, without its distributed wrapper.
    """

    def __init__(self, module: nn.Module) -> None:
        self._params = list(module.parameters())
        self._buffers = list(module.buffers())
        self._saved_buffers = [buffer.detach().clone() for buffer in self._buffers]
        self._host_grads: dict[int, Tensor] = {}
        self._has_grad: list[bool] = []
        self._rng: dict = {}

    @torch.no_grad()
    def take(self) -> None:
        """Remember the state before an iteration."""
        copy_all(self._saved_buffers, self._buffers)
        self._has_grad = [param.grad is not None for param in self._params]
        for place, param in enumerate(self._params):
            if param.grad is None:
                continue
            if place not in self._host_grads:
                on_gpu = param.grad.device.type == 'cuda'
                with page_locked(
                    param.grad.nbytes, 'Set optimize.micro_batch to a number: nothing is kept to undo then.'
                ):
                    self._host_grads[place] = torch.empty_like(param.grad, device='cpu', pin_memory=on_gpu)
            # On CUDA's stream like all else: what follows it there waits, this process does not.
            self._host_grads[place].copy_(param.grad, non_blocking=copies_in_order(param.grad.device))
        self._rng = rng_state()

    @torch.no_grad()
    def restore(self) -> None:
        """Bring it back."""
        copy_all(self._buffers, self._saved_buffers)
        for place, (param, has_grad) in enumerate(zip(self._params, self._has_grad, strict=True)):
            if not has_grad:
                param.grad = None
            else:
                assert param.grad is not None, 'a gradient that was there is overwritten, never dropped'
                param.grad.copy_(self._host_grads[place], non_blocking=True)
        set_rng_state(self._rng)
