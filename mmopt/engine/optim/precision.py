"""Automatic mixed precision on CPU and CUDA alike, in a precision that is given or chosen for the device.

fp16 needs a loss scale: static (mmcv's ``fp16 = dict(loss_scale=512.)``), dynamic, or the scaler's own arguments. bf16
has fp32's range and takes none. Gradients are unscaled before clipping; a step with an infinite gradient is skipped
and counted. A fused optimizer, the default of fp16 on a GPU, does so on the device; for others torch's scaler reads
the answer, and so waits for the backward pass.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from mmengine.dist import broadcast_object_list
from torch import Tensor, nn

from mmopt.config.precision import AUTO, DTYPE_NAMES, precision_of, resolve_precision
from mmopt.engine.optim.accumulation import OptimWrapper
from mmopt.engine.optim.half_on_cpu import autocast, emulation
from mmopt.registry import OPTIM_WRAPPERS
from mmopt.utils.precision import DTYPES, Choice, choose_precision, this_device

__all__ = ['AmpOptimWrapper', 'evaluation_precision']

_DTYPES = (DTYPE_NAMES['fp16'], DTYPE_NAMES['bf16'], AUTO)


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(OptimWrapper):
    """Autocast forward and a loss scale.

    Args:
        dtype: ``'float16'`` (also None), ``'bfloat16'``, or ``'auto'``: the fastest precision that the device computes
            itself, fp32 where it has no other.
        loss_scale: A float is a static scale; ``'dynamic'`` halves on overflow and doubles after 2000 good steps; a
            dict holds arguments of :class:`torch.amp.GradScaler`. Without effect in other precisions than fp16.
        accumulative_counts: Iterations per optimizer step.
        clip_grad: Clipping, on unscaled gradients; see :class:`OptimWrapper`.
        allow: The half precisions that ``'auto'`` may choose.
        use_fsdp: MMEngine's switch for the loss scaler of sharded models, which do not train in fp16 here.

    Raises:
        ValueError: If ``dtype`` is unknown, or ``use_fsdp`` is set.
        TypeError: If ``loss_scale`` has another type.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        dtype: str | None = None,
        loss_scale: float | str | dict = 'dynamic',
        accumulative_counts: int = 1,
        clip_grad: dict | None = None,
        allow: Sequence[str] = ('bf16', 'fp16'),
        *,
        use_fsdp: bool = False,
    ) -> None:
        super().__init__(optimizer, accumulative_counts, clip_grad)
        if use_fsdp:
            raise ValueError(
                "AmpOptimWrapper: use_fsdp=True is for MMEngine's own sharded models; write "
                "model_wrapper_cfg=dict(type='FSDP') and dtype='bfloat16', which needs no loss scale."
            )
        name = str(dtype or 'float16').removeprefix('torch.')
        if name not in _DTYPES:
            raise ValueError(f'AmpOptimWrapper: dtype must be one of {sorted(_DTYPES)}, got {dtype!r}.')
        self._device_type = next(p.device.type for group in optimizer.param_groups for p in group['params'])
        self.static_scale: float | None = None
        if loss_scale == 'dynamic':
            self._scaler_args: dict = {}
        elif isinstance(loss_scale, float):
            self.static_scale = loss_scale
            self._scaler_args = dict(init_scale=loss_scale)
        elif isinstance(loss_scale, dict):
            self._scaler_args = dict(loss_scale)
        else:
            raise TypeError(f"loss_scale must be a float, 'dynamic' or a dict, got {loss_scale!r}.")
        self._num_skipped = torch.zeros((), device=self._device_type)
        self.choice: Choice | None = None
        """The precision that was chosen for this device; None where the config names one."""
        if name == AUTO:
            # Rank 0 chooses for all: the machines of a run may differ, its gradients must not.
            choices = [choose_precision(this_device(self._device_type), allow)]
            broadcast_object_list(choices)
            self.choice = choices[0]
        self._use(self.choice.precision if self.choice else precision_of(dict(type='AmpOptimWrapper', dtype=name)))

    def _use(self, precision: str) -> None:
        self.precision = precision
        self.cast_dtype = DTYPES[precision]
        arguments = dict(enabled=True) | self._scaler_args
        arguments['enabled'] = precision == 'fp16' and bool(arguments['enabled'])
        self.loss_scaler = torch.amp.GradScaler(self._device_type, **arguments)

    def keep_precision(self, precision: str) -> None:
        """Go on in the precision that a run was begun in: what ``'auto'`` chooses here must not change it.

        Args:
            precision: Of the checkpoint. Without effect where the config names one itself.
        """
        if self.choice is not None and precision != self.precision:
            self.choice = Choice(precision, 'as the run was begun')
            self._use(precision)

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
        with super().optim_context(model), self.autocast(self._device_type):
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
        return emulation(self._device_type, self.cast_dtype)

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
        begun = _without_momentum(self.optimizer)
        self.loss_scaler.step(self.optimizer, **kwargs)
        if begun and any(flag.item() for flag in found_inf.values()):
            # The fused kernel has made the buffers and, leaving out the step, not filled them.
            for param in begun:
                self.optimizer.state[param].pop('momentum_buffer', None)
        self.loss_scaler.update(self.static_scale)
        scale: Any = self.loss_scaler._scale
        self.step_log |= dict(loss_scale=scale.clone(), num_skipped_steps=self._num_skipped.clone())

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


def _without_momentum(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """List the parameters of a fused SGD whose momentum begins with this step."""
    return [
        param
        for group in optimizer.param_groups
        if group.get('fused') and group.get('momentum') and 'dampening' in group
        for param in group['params']
        if param.grad is not None and optimizer.state[param].get('momentum_buffer') is None
    ]


def evaluation_precision(optim_wrapper: Mapping[str, Any] | None, trained_in: str | None, device_type: str) -> str:
    """Return what an evaluation without training is computed in.

    Args:
        optim_wrapper: The section of the config.
        trained_in: Precision of the checkpoint; None where it does not say.
        device_type: ``'cpu'`` or ``'cuda'``.

    Returns:
        The config's precision. For ``auto`` the checkpoint's where this device computes it itself, else its fastest.
    """
    device = this_device(device_type)
    if precision_of(optim_wrapper) == AUTO and trained_in is not None and device.support(trained_in).is_native:
        return trained_in
    return resolve_precision(optim_wrapper, device)
