"""Automatic mixed precision on CPU and CUDA alike.

fp16 needs a loss scale: static (mmcv's ``fp16 = dict(loss_scale=512.)``), dynamic, or the scaler's own arguments. bf16
has fp32's range and takes none. Gradients are unscaled before clipping; a step with an infinite gradient is skipped
and counted, on the device, without waiting for it.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from mmopt.engine.optim.accumulation import OptimWrapper
from mmopt.engine.optim.half_on_cpu import HalfOnCpu, autocast, cpu_multiplies_halves
from mmopt.registry import OPTIM_WRAPPERS

__all__ = ['DTYPES', 'AmpOptimWrapper']

DTYPES = {'float16': torch.float16, 'bfloat16': torch.bfloat16}
"""What a config may call a precision."""


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(OptimWrapper):
    """Autocast forward and a loss scale.

    Args:
        optimizer: The optimizer.
        dtype: ``'float16'`` or ``'bfloat16'``.
        loss_scale: A float is a static scale; ``'dynamic'`` halves on overflow and doubles after 2000 good steps; a
            dict holds arguments of :class:`torch.amp.GradScaler`. Without effect for bfloat16.
        accumulative_counts: Iterations per optimizer step.
        clip_grad: Clipping, on unscaled gradients; see :class:`OptimWrapper`.

    Raises:
        ValueError: If ``dtype`` is unknown.
        TypeError: If ``loss_scale`` has another type.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        dtype: str = 'float16',
        loss_scale: float | str | dict = 'dynamic',
        accumulative_counts: int = 1,
        clip_grad: dict | None = None,
    ) -> None:
        super().__init__(optimizer, accumulative_counts, clip_grad)
        if dtype not in DTYPES:
            raise ValueError(f'AmpOptimWrapper: dtype must be one of {sorted(DTYPES)}, got {dtype!r}.')
        self.cast_dtype = DTYPES[dtype]
        self.static_scale: float | None = None
        device_type = next(p.device.type for group in optimizer.param_groups for p in group['params'])
        needs_scale = self.cast_dtype is torch.float16
        if loss_scale == 'dynamic':
            scaler_args: dict = {}
        elif isinstance(loss_scale, float):
            self.static_scale = loss_scale
            scaler_args = dict(init_scale=loss_scale)
        elif isinstance(loss_scale, dict):
            scaler_args = dict(loss_scale)
        else:
            raise TypeError(f"loss_scale must be a float, 'dynamic' or a dict, got {loss_scale!r}.")
        self.loss_scaler = torch.amp.GradScaler(device_type, enabled=needs_scale, **scaler_args)
        self._num_skipped = torch.zeros((), device=device_type)

    @property
    def num_skipped_steps(self) -> int:
        """Optimizer steps left out because a gradient was infinite. Waits for the device."""
        return int(self._num_skipped)

    def autocast(self, device_type: str) -> AbstractContextManager:
        """Return the autocast context of the forward pass."""
        return autocast(device_type, self.cast_dtype)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enter autocast around the forward pass: what models with a ``train_step`` of their own call."""
        with super().optim_context(model), self.autocast(self._num_skipped.device.type):
            yield

    def accumulate(self, loss: Tensor) -> None:
        """Add the gradient of one scaled (micro-)batch loss."""
        with self._half_backward():
            self.loss_scaler.scale(self.scale_loss(loss)).backward()

    def backward(self, loss: Tensor, **kwargs) -> None:
        """Run backward and count one iteration: what models with a ``train_step`` of their own call."""
        with self._half_backward():
            self.loss_scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def _half_backward(self) -> AbstractContextManager:
        emulated = self._num_skipped.device.type == 'cpu' and self.cast_dtype is torch.float16
        return HalfOnCpu() if emulated and not cpu_multiplies_halves() else nullcontext()

    def step(self, **kwargs) -> None:
        """Unscale, clip, step unless a gradient is infinite, and update the scale."""
        if not self.loss_scaler.is_enabled():
            super().step(**kwargs)
            return
        self.loss_scaler.unscale_(self.optimizer)
        self._clip_grad()
        found_inf = self.loss_scaler._per_optimizer_states[id(self.optimizer)]['found_inf_per_device']
        for flag in found_inf.values():
            self._num_skipped += flag.to(self._num_skipped.device, non_blocking=True).clamp(max=1)
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update(self.static_scale)
        self.step_log |= dict(loss_scale=self.loss_scaler._scale.clone(), num_skipped_steps=self._num_skipped.clone())

    def state_dict(self) -> dict:
        """Return the optimizer's state, the scaler's and the count of skipped steps."""
        return super().state_dict() | dict(
            loss_scaler=self.loss_scaler.state_dict(), num_skipped_steps=self.num_skipped_steps
        )

    def load_state_dict(self, state_dict: dict) -> None:
        """Restore what :meth:`state_dict` gave; a state without a scaler (fp32 run) leaves the scale as configured."""
        state_dict = dict(state_dict)
        scaler_state = state_dict.pop('loss_scaler', None)
        if scaler_state and self.loss_scaler.is_enabled():
            self.loss_scaler.load_state_dict(scaler_state)
        self._num_skipped.fill_(state_dict.pop('num_skipped_steps', 0))
        super().load_state_dict(state_dict)
