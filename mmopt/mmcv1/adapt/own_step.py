"""Models that step their optimizers themselves, and those whose repository steps them by a hook of its own."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.optim import OptimWrapperDict
from torch import Tensor

__all__ = ['OwnStep', 'optimizer_of']


def optimizer_of(optim_wrapper: Any) -> Any:
    """Return the optimizer, or a dict of several, as mmcv 1.x's code takes it."""
    if isinstance(optim_wrapper, OptimWrapperDict):
        return {name: wrapper.optimizer for name, wrapper in optim_wrapper.items()}
    return optim_wrapper.optimizer


class OwnStep:
    """The step of the repository in the place of the engine's; stands before the adapter of the model.

    Without micro-batches, mixed precision and the guard against losses that are not finite: the engine sees neither
    the backward pass nor the step.
    """

    _mmcv1_optimizer_hook: Any = None
    _mmcv1_train_step: Callable | None
    data_preprocessor: Callable
    hook_runner: Any = None
    """What the optimizer hook sees as its runner; the hook that sets up a run puts it here."""

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, Tensor]:
        """Run an iteration.

        Args:
            data: The batch.
            optim_wrapper: The engine's, of which only the optimizers are used.

        Returns:
            Scalars for the log.
        """
        batch = self.data_preprocessor(data)
        optimizer = optimizer_of(optim_wrapper)
        step = self._mmcv1_train_step
        assert step is not None, 'a model without train_step has no step of its own'
        outputs = step(self, batch, optimizer)
        if self._mmcv1_optimizer_hook is not None:
            self.hook_runner.outputs = outputs
            self._mmcv1_optimizer_hook.after_train_iter(self.hook_runner)
        return _scalars(outputs)


def _scalars(outputs: Mapping[str, Any]) -> dict[str, Tensor]:
    log = {
        name: torch.as_tensor(value) for name, value in outputs.get('log_vars', outputs).items() if _is_number(value)
    }
    if 'loss' not in log and isinstance(outputs.get('loss'), Tensor):
        log['loss'] = outputs['loss'].detach()
    return log


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1)
