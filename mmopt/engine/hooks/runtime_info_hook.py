"""Bring losses, times and the learning rate to the message hub without waiting for the device at every iteration."""

from itertools import chain
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import IterTimerHook as _IterTimerHook
from mmengine.hooks import RuntimeInfoHook as _RuntimeInfoHook
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor

from mmopt.engine.hooks.logger_hook import logs_now
from mmopt.registry import HOOKS

__all__ = ['IterTimerHook', 'RuntimeInfoHook']


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
        self._rates: dict[str, float] = {}
        self._seconds = 0.0
        self._iters = 0

    def before_run(self, runner: Runner) -> None:
        """Note the run's config; formatting it takes up to seconds, so checkpoints take this text."""
        super().before_run(runner)
        runner.config_text = runner.message_hub.get_info('cfg')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Note the learning rate that this iteration uses: of the first group, as in mmcv."""
        wrapper = runner.optim_wrapper
        if isinstance(wrapper, OptimWrapperDict):
            self._rates = {f'{name}.lr': part.optimizer.param_groups[0]['lr'] for name, part in wrapper.items()}
        else:
            self._rates = dict(lr=wrapper.optimizer.param_groups[0]['lr'])

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Keep the scalars; read all of them at once when the log is due."""
        self._pending.append({**(outputs or {}), **self._rates})
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

    def forget(self) -> None:
        """Drop what is pending: the run goes back to before it."""
        self._pending.clear()

    def flush(self, runner: Runner) -> None:
        """Move all pending scalars to the message hub: one transfer for any number of iterations."""
        rows = self._pending
        columns = {name: [row[name] for row in rows if name in row] for name in dict.fromkeys(chain(*rows))}
        measured = [name for name, values in columns.items() if any(isinstance(value, Tensor) for value in values)]
        tensors = [value for name in measured for value in columns[name] if isinstance(value, Tensor)]
        on_host = iter(torch.stack([_as_float(value) for value in tensors]).tolist() if tensors else ())
        for name in measured:
            columns[name] = [next(on_host) if isinstance(value, Tensor) else value for value in columns[name]]
        columns |= _mean_over_ranks({name: columns[name] for name in measured})
        hub = runner.message_hub
        for name, values in columns.items():
            self._extend(hub, f'train/{name}', values)
        self._seconds += sum(columns.get('time', ()))
        self._iters += len(self._pending)
        hub.update_info('iter', runner.iter)
        if self._iters:
            hub.update_info('eta', self._seconds / self._iters * (runner.max_iters - runner.iter - 1))
        self._pending.clear()

    def _extend(self, hub: MessageHub, key: str, values: list[float]) -> None:
        """Append to a history at once; one by one, MMEngine's buffer copies itself each time."""
        if key in hub.log_scalars:
            old, counts = hub.log_scalars[key].data
        else:
            old, counts = np.empty(0), np.empty(0)
        history = np.concatenate((old, values))[-self.max_history :]
        counts = np.concatenate((counts, np.ones(len(values))))[-self.max_history :]
        hub.log_scalars[key] = HistoryBuffer(history, counts, max_length=self.max_history)
        hub._set_resumed_keys(key, resumed=True)  # a checkpoint may fall between two lines


def _as_float(value: Tensor) -> Tensor:
    # Most are scalars of this type already, and there are thousands between two lines.
    return value.detach() if value.dtype is torch.float32 and value.dim() == 0 else value.detach().float().reshape(())


def _mean_over_ranks(columns: dict[str, list[float]]) -> dict[str, list[float]]:
    """Average what each rank measured, name by name over the ranks that have it. All ranks must call it."""
    if get_world_size() == 1:
        return columns
    of_ranks = all_gather_object(columns)
    means = {}
    for name, own in columns.items():
        known = [other[name] for other in of_ranks if len(other.get(name, ())) == len(own)]
        means[name] = [sum(values) / len(known) for values in zip(*known, strict=True)]
    return means


@HOOKS.register_module()
class IterTimerHook(_IterTimerHook):
    """Time evaluations. A training iteration is timed by its loop, which knows what it waited for.

    Loops of other libraries have no clock: their iterations are timed here, as MMEngine does.
    """

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Note the time where the loop has no clock."""
        if not hasattr(runner.train_loop, 'iters_done'):
            self._before_iter(runner, batch_idx, data_batch, mode='train')

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Log the time where the loop has no clock."""
        if not hasattr(runner.train_loop, 'iters_done'):
            self._after_iter(runner, batch_idx, data_batch, outputs, mode='train')
