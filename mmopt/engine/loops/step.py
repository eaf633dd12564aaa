"""One training iteration: preprocess once, normalize once, run micro-batches, step at the window's end.

The engine owns the step; a model only maps a batch to losses. Losses of mmopt's models are sums divided by
normalizers of the whole batch, so the losses of micro-batches add up to the loss of the batch and their gradients to
its gradient. Models without ``loss_normalizers`` return means, which are weighted by sample count: exact only where
every sample counts alike.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.model import BaseDataPreprocessor, BaseModel, is_model_wrapper
from torch import Tensor, distributed, nn

from mmopt.engine.guards.bad_numbers import BadNumberGuard
from mmopt.engine.optim import OptimWrapper
from mmopt.engine.parallel.unused_parameters import check_all_used, unused_parameters_explained
from mmopt.structures import batch_size, move_to, split_batch
from mmopt.utils.errors import UserError
from mmopt.utils.placement import device_of

__all__ = ['TrainStep', 'forward_losses', 'sum_losses', 'unwrap']


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model inside a distributed wrapper, or the model itself."""
    wrapper: Any = model
    return wrapper.module if is_model_wrapper(model) else model


def sum_losses(losses: dict[str, Tensor | list[Tensor]]) -> tuple[Tensor, dict[str, Tensor]]:
    """Add what a model returned in mode ``'loss'``.

    Args:
        losses: Scalars, or tensors and lists of tensors that are averaged (MMEngine's convention). Entries with
            ``loss`` in their name make the loss; the others are only logged.

    Returns:
        The loss, and everything as detached scalars for the log; the total under ``loss``, unless a part is named so.

    Raises:
        TypeError: If it is no dict, or an entry is neither a tensor nor a list of tensors.
        ValueError: If no entry has ``loss`` in its name.
    """
    if not isinstance(losses, Mapping):
        raise TypeError(
            f"The model returned a {type(losses).__name__} in mode 'loss': it must return a dict, whose entries with "
            "'loss' in their name are added up."
        )
    scalars: dict[str, Tensor] = {}
    for name, value in losses.items():
        if isinstance(value, Tensor):
            scalars[name] = value if value.dim() == 0 else value.mean()
        elif isinstance(value, Iterable) and all(isinstance(item, Tensor) for item in value):
            means = [item.mean() for item in value]
            # Of no level at all MMEngine makes 0, too.
            scalars[name] = sum(means[1:], means[0]) if means else torch.zeros(())
        else:
            raise TypeError(f'The model returned {name}={value!r}; a loss must be a tensor or a list of tensors.')
    parts = [value for name, value in scalars.items() if 'loss' in name]
    if not parts:
        raise ValueError(f"The model returned no loss: none of {sorted(scalars)} has 'loss' in its name.")
    total = sum(parts[1:], parts[0])
    return total, {'loss': total.detach()} | {name: value.detach() for name, value in scalars.items()}


class TrainStep:
    """Run iterations of one model.

    Args:
        model: The model, possibly in a distributed wrapper.
        optim_wrapper: Precision, accumulation, clipping and step. Only a model with a ``train_step`` of its own may
            come with a wrapper other than mmopt's.
        micro_batch: Samples per forward pass; None runs the batch as it is.
    """

    def __init__(self, model: nn.Module, optim_wrapper: Any, micro_batch: int | None = None) -> None:
        # A user's model: what it offers beside nn.Module is asked for below.
        self.model: Any = model
        self.module: Any = unwrap(model)
        self.optim_wrapper = optim_wrapper
        self.micro_batch = micro_batch
        self.before_first: Callable[[TrainStep, Any, dict[str, Tensor] | None], None] | None = None
        """Called once, with the first preprocessed batch and its normalizers, before its forward pass."""
        self.guard: BadNumberGuard | None = None
        """Checks the losses before the optimizer's step; without one, NaN is trained on."""
        # Asked once: a module that lacks an attribute takes long to say so.
        self._has_normalizers = hasattr(self.module, 'loss_normalizers')
        self._see_parts = getattr(self.module, 'see_parts', None)
        # GANs and the like drive several optimizers themselves; MMEngine's BaseModel.train_step is what we replace.
        self._is_checked = False  # whether all parameters got a gradient, in the first iteration that exchanged them
        own_step = getattr(type(self.module), 'train_step', None)
        self.model_owns_step = own_step is not None and own_step is not BaseModel.train_step
        if not self.model_owns_step and not isinstance(optim_wrapper, OptimWrapper):
            raise TypeError(
                f'{type(optim_wrapper).__module__}.{type(optim_wrapper).__name__} cannot be driven by mmopt: use '
                "type='OptimWrapper' or 'AmpOptimWrapper' with default_scope='mmopt'."
            )

    def __call__(self, batch: Any) -> dict[str, Tensor]:
        """Run one iteration.

        Args:
            batch: A batch as the loader gives it.

        Returns:
            Scalars for the log, still on the device. Only the loss is read back, by the guard.
        """
        with unused_parameters_explained(self.model):
            if self.model_owns_step:
                return self.model.train_step(batch, optim_wrapper=self.optim_wrapper)
            return self._run(batch)

    def _run(self, batch: Any) -> dict[str, Tensor]:
        batch = self._preprocess(batch)
        if self.guard is not None:
            self.guard.begin()
        normalizers = self._normalizers(batch)
        if self.before_first is not None:
            self.before_first(self, batch, normalizers)
            self.before_first = None
        exchanges = self.optim_wrapper.should_sync()
        log = self._backward(batch, normalizers)
        if exchanges and not self._is_checked:
            check_all_used(self.model)
            self._is_checked = True
        if self.guard is not None and self.guard.is_bad():
            # Not through the distributed wrapper: the other ranks may not be here.
            self.guard.act(log, batch, lambda: forward_losses(self.module, batch, normalizers))
            return {}
        if self.optim_wrapper.finish_iteration():
            log |= self.optim_wrapper.step_log
        return log

    def _backward(self, batch: Any, normalizers: dict[str, Tensor] | None) -> dict[str, Tensor]:
        """Add the gradient of a preprocessed batch; return scalars for the log."""
        return self._run_parts(batch, normalizers, self.micro_batch, reduces=self.optim_wrapper.should_sync())

    def _run_parts(
        self, batch: Any, normalizers: dict[str, Tensor] | None, size: int | None, *, reduces: bool
    ) -> dict[str, Tensor]:
        """Run forward and backward in parts of ``size`` samples; the last part reduces gradients over ranks."""
        if size is None:
            return self._run_part(batch, normalizers, 1, reduces=reduces)
        parts, weights = self._split(batch, size, exact=normalizers is not None)
        if self._see_parts is not None and len(parts) > 1:
            with self.optim_wrapper.autocast(self._device_type):
                self._see_parts(parts, weights)
        log: dict[str, Tensor] = {}
        for number, (part, weight) in enumerate(zip(parts, weights, strict=True), start=1):
            scalars = self._run_part(part, normalizers, weight, reduces=reduces and number == len(parts))
            for name, value in scalars.items():
                log[name] = log[name] + value if name in log else value
        return log

    def _run_part(
        self, part: Any, normalizers: dict[str, Tensor] | None, weight: float, *, reduces: bool
    ) -> dict[str, Tensor]:
        """Run forward and backward once; return scalars for the log."""
        optim_wrapper: OptimWrapper = self.optim_wrapper
        with nullcontext() if reduces or not hasattr(self.model, 'no_sync') else self.model.no_sync():
            with optim_wrapper.autocast(self._device_type):
                losses = forward_losses(self.model, part, normalizers)
            loss, scalars = sum_losses(losses)
            if not loss.requires_grad:
                raise UserError(
                    f'No parameter of {type(self.module).__name__} can learn from its loss: all are frozen '
                    '(requires_grad is False), or the loss was detached from them.'
                )
            if self.guard is not None:
                self.guard.watch(loss)
            optim_wrapper.accumulate(loss if weight == 1 else loss * weight)
        return scalars if weight == 1 else {name: value * weight for name, value in scalars.items()}

    @cached_property
    def _device_type(self) -> str:
        return device_of(self.module).type

    def _preprocess(self, batch: Any) -> Any:
        preprocessor: Any = getattr(self.module, 'data_preprocessor', None)
        if type(preprocessor) is BaseDataPreprocessor:
            # It only moves the batch, with many times the checks, and by default waits for every tensor.
            return move_to(batch, preprocessor.device)
        return batch if preprocessor is None else preprocessor(batch, True)

    def _normalizers(self, batch: Any) -> dict[str, Tensor] | None:
        if not self._has_normalizers:
            return None
        normalizers = self.module.loss_normalizers(batch['data_samples'])
        if get_world_size() > 1:
            # DDP averages gradients over ranks: with the ranks' mean normalizer the average is the global ratio.
            for value in normalizers.values():
                distributed.all_reduce(value)
                value /= get_world_size()
        return normalizers

    def _split(self, batch: Any, size: int, *, exact: bool) -> tuple[list[Any], list[float]]:
        parts = split_batch(batch, size)
        if exact or len(parts) == 1:
            return parts, [1] * len(parts)
        total = batch_size(batch)
        return parts, [batch_size(part) / total for part in parts]


def forward_losses(
    model: nn.Module, part: Any, normalizers: dict[str, Tensor] | None
) -> dict[str, Tensor | list[Tensor]]:
    """Run a model in mode ``'loss'``.

    Args:
        part: A preprocessed (micro-)batch.
        normalizers: Of the whole batch; None for models without.

    Returns:
        The losses.

    Raises:
        TypeError: If the batch is of a kind that cannot be handed to a model.
    """
    extra = {} if normalizers is None else dict(normalizers=normalizers)
    if isinstance(part, dict):
        return model(**part, mode='loss', **extra)
    if isinstance(part, list | tuple):
        return model(*part, mode='loss', **extra)
    raise TypeError(f'The loader gave a {type(part).__name__}; a batch must be a dict, a list or a tuple.')
