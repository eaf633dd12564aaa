"""An optimizer wrapper that counts iterations, not backward calls, and never waits for the device.

MMEngine's wrapper counts every ``backward``; here an iteration may take several (micro-batches) and counts once. Under
accumulation by c the step falls on ``(i + 1) % c == 0`` or on the last iteration, losses are divided by c, in an
incomplete last window by its length: as in mmcv 1.x.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.optim import OptimWrapper as _OptimWrapper
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from mmopt.registry import OPTIM_WRAPPERS

__all__ = ['OptimWrapper', 'waiting_gradients']


def waiting_gradients(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of the gradients that wait for their step, on the CPU. All ranks must call it.

    Ranks reduce their gradients at the step only. With the mean of all ranks in the place of each rank's own, that
    reduction gives the same.

    Args:
        module: The model, without its distributed wrapper.

    Returns:
        Gradients by parameter name.
    """
    named = dict(module.named_parameters())
    if any(isinstance(param, DTensor) for param in named.values()):
        # Sharded gradients are reduced at every backward pass.
        shards: dict[str, Any] = {name: param.grad for name, param in named.items() if param.grad is not None}
        return {name: grad.full_tensor().cpu() for name, grad in shards.items()}
    if get_world_size() == 1:
        return {name: param.grad.cpu() for name, param in named.items() if param.grad is not None}
    # A parameter may have a gradient on some ranks only.
    device = next(iter(named.values())).device
    waits = torch.tensor([param.grad is not None for param in named.values()], dtype=torch.int32, device=device)
    all_reduce(waits, 'max')
    means = {}
    for (name, param), is_waiting in zip(named.items(), waits.tolist(), strict=True):
        if is_waiting:
            mean = torch.zeros_like(param) if param.grad is None else param.grad.clone()
            all_reduce(mean, 'mean')
            means[name] = mean.detach().cpu()
    return means


@OPTIM_WRAPPERS.register_module()
class OptimWrapper(_OptimWrapper):
    """fp32 training with accumulation and clipping.

    Args:
        accumulative_counts: Iterations per optimizer step.
        clip_grad: Arguments of :func:`torch.nn.utils.clip_grad_norm_` (or, with ``type='value'``, of
            ``clip_grad_value_``); None to leave gradients as they are.
    """

    precision = 'fp32'
    """What the forward pass is computed in: one of :data:`mmopt.utils.precision.PRECISIONS`."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, accumulative_counts: int = 1, clip_grad: dict | None = None
    ) -> None:
        if accumulative_counts < 1:
            raise ValueError(f'accumulative_counts must be at least 1, got {accumulative_counts}.')
        super().__init__(optimizer, accumulative_counts, None if clip_grad is None else dict(clip_grad))
        self.step_log: dict[str, Tensor] = {}
        """Scalars of the last step (``grad_norm``, ``num_skipped_steps``), still on the device."""

    @property
    def accumulative_counts(self) -> int:
        """Iterations per optimizer step."""
        return self._accumulative_counts

    @property
    def in_window(self) -> bool:
        """Whether gradients of a begun accumulation window wait for their step."""
        return not self.should_update()

    def autocast(self, device_type: str) -> AbstractContextManager:
        """Return the context in which the forward pass runs."""
        del device_type
        return nullcontext()

    def accumulate(self, loss: Tensor) -> None:
        """Add the gradient of one (micro-)batch loss, divided by the length of the accumulation window."""
        self.scale_loss(loss).backward()

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Divide a loss by the length of its accumulation window; without one there is nothing to divide."""
        return loss if self._accumulative_counts == 1 else super().scale_loss(loss)

    def finish_iteration(self) -> bool:
        """Count one iteration and, at the end of an accumulation window, step.

        Returns:
            Whether a step was made (under fp16 it may have been skipped by the scaler).
        """
        self._inner_count += 1
        if not self.should_update():
            return False
        self.step()
        self.zero_grad()
        return True

    def skip_iteration(self) -> None:
        """Count one iteration without a step; gradients that wait in its accumulation window are dropped."""
        self._inner_count += 1
        self.zero_grad()

    def step(self, **kwargs) -> None:
        """Clip and step."""
        self._clip_grad()
        self.optimizer.step(**kwargs)

    def _clip_grad(self) -> None:
        self.step_log = {}
        if not self.clip_grad_kwargs:
            return
        params = [p for group in self.optimizer.param_groups for p in group['params'] if p.grad is not None]
        if params:
            norm = self.clip_func(params, **self.clip_grad_kwargs)
            if isinstance(norm, DTensor):
                norm = norm.full_tensor()
            if norm is not None:
                # Kept as a tensor: MMEngine's float() here waits for the device at every step.
                self.step_log['grad_norm'] = norm.detach()

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """Set the position in the run. The checkpoint keeps the gradients of a begun window, so nothing is lost."""
        del model
        self._inner_count = init_counts
        self._max_counts = max_counts
        self._remainder_counts = max_counts % self._accumulative_counts
