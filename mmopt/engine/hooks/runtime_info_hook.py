"""Bring losses and learning rates to the message hub without waiting for the device at every iteration."""

from typing import Any

import torch
from mmengine.hooks import RuntimeInfoHook as _RuntimeInfoHook
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import Runner
from torch import Tensor

from mmopt.engine.hooks.logger_hook import logs_now
from mmopt.registry import HOOKS

__all__ = ['RuntimeInfoHook']


@HOOKS.register_module()
class RuntimeInfoHook(_RuntimeInfoHook):
    """Collect each iteration's scalars on the device and read them together when a log line is due.

    MMEngine's hook calls ``.item()`` on every scalar of every iteration, which waits for the device each time, and its
    history buffers copy all that a run ever logged at each update. Here one copy fetches all scalars since the last
    line, and the histories keep ``max_history`` values.

    Args:
        max_history: Values kept per scalar in the message hub; the log files keep all.
    """

    def __init__(self, max_history: int = 1000) -> None:
        self.max_history = max_history
        self._pending: list[dict[str, Any]] = []

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Note the iteration and the learning rate."""
        runner.message_hub.update_info('iter', runner.iter)
        # Of the first group, as in mmcv; MMEngine's second entry, base_lr, is the same number in all our runs.
        self._update(runner.message_hub, 'train/lr', runner.optim_wrapper.get_lr()['lr'][0])

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Keep the scalars; read all of them at once when the log is due."""
        if outputs:
            self._pending.append(outputs)
        if logs_now(runner, batch_idx):
            self.flush(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Read what is pending: a resumed run's first log line averages over the same iterations."""
        if self._pending:
            self.flush(runner)
            checkpoint['message_hub'] = runner.message_hub_state()

    def after_train(self, runner: Runner) -> None:
        """Read what is left."""
        self.flush(runner)
        super().after_train(runner)

    def flush(self, runner: Runner) -> None:
        """Move all pending scalars to the message hub: one transfer for any number of iterations."""
        names = [(row, name) for row, outputs in enumerate(self._pending) for name in outputs]
        tensors = [self._pending[row][name] for row, name in names if isinstance(self._pending[row][name], Tensor)]
        on_host = iter(torch.stack([t.detach().float().reshape(()) for t in tensors]).tolist() if tensors else ())
        for row, name in names:
            value = self._pending[row][name]
            self._update(runner.message_hub, f'train/{name}', next(on_host) if isinstance(value, Tensor) else value)
        self._pending.clear()

    def _update(self, hub: MessageHub, key: str, value: float) -> None:
        if key not in hub.log_scalars:
            hub.log_scalars[key] = HistoryBuffer(max_length=self.max_history)
        hub.update_scalar(key, value)
