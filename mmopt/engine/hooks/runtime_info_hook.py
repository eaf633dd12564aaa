"""Bring losses, times and the learning rate to the message hub without waiting for the device at every iteration."""

from collections.abc import Mapping
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import IterTimerHook as _IterTimerHook
from mmengine.hooks import RuntimeInfoHook as _RuntimeInfoHook
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import Runner
from torch import Tensor

from mmopt.engine.hooks.logger_hook import logs_now
from mmopt.engine.logging.message_hub import MessageHub as LazyMessageHub
from mmopt.registry import HOOKS
from mmopt.utils.errors import UserError

__all__ = ['IterTimerHook', 'RuntimeInfoHook']


class _RatesError(UserError, AssertionError):
    """What MMEngine's hook says by an assertion."""


@HOOKS.register_module()
class RuntimeInfoHook(_RuntimeInfoHook):
    """Collect each iteration's scalars on the device and read them together when a log line is due, or when asked.

    MMEngine's hook calls ``.item()`` on every scalar of every iteration, which waits for the device each time, and its
    history buffers copy all that a run ever logged at each update. Here one copy fetches all scalars since the last
    line. Who reads the message hub in between finds them there all the same: they are fetched then.

    Args:
        max_history: Values kept per scalar in the message hub, at least the longest window of the log processor; the
            log files keep all.
    """

    def __init__(self, max_history: int = 1000) -> None:
        self.max_history = max_history
        self._pending: list[dict[str, Any]] = []
        self._shown: dict[str, int] = {}  # how many pending values the hub holds already, of this rank alone
        self._measured: set[str] = set()  # pending scalars that came from the device
        self._seconds = 0.0
        self._iters = 0

    def before_run(self, runner: Runner) -> None:
        """Note the run's config; formatting it takes up to seconds, so checkpoints take this text."""
        super().before_run(runner)
        runner.config_text = runner.message_hub.get_info('cfg')

    def before_train(self, runner: Runner) -> None:
        """Note where the run begins and ends, and keep what its log lines average over."""
        super().before_train(runner)
        self.max_history = max(self.max_history, _longest_window(runner))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Note the iteration and the learning rates that it uses: of the first group, as in mmcv, and the base's."""
        runner.message_hub.update_info('iter', runner.iter)
        rates = runner.optim_wrapper.get_lr()  # a wrapper of a library may know more of them
        if not isinstance(rates, Mapping):
            raise _RatesError(
                f'runner.optim_wrapper.get_lr() of {type(runner.optim_wrapper).__name__} must return a dict of lists, '
                f'one per name and with the rate of each parameter group; got {rates!r}.'
            )
        self._pending.append({name: groups[0] for name, groups in rates.items()})
        self._serve(runner.message_hub)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Keep the scalars; read all of them at once when the log is due."""
        if not self._pending:  # of a loop that leaves out what comes before an iteration
            self._pending.append({})
        self._pending[-1] |= outputs or {}
        self._serve(runner.message_hub)
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
        if isinstance(runner.message_hub, LazyMessageHub):
            runner.message_hub.before_read = None
        super().after_train(runner)

    def forget(self) -> None:
        """Drop what is pending: the run goes back to before it."""
        self._pending.clear()
        self._shown.clear()
        self._measured.clear()

    def flush(self, runner: Runner) -> None:
        """Move all pending scalars to the message hub: one transfer for any number of iterations."""
        columns = self._columns()
        columns |= _mean_over_ranks({name: columns[name] for name in columns if name in self._measured})
        self._put(runner.message_hub, columns)
        self._seconds += sum(columns.get('time', ()))
        self._iters += len(self._pending)
        if self._iters:
            runner.message_hub.update_info('eta', self._seconds / self._iters * (runner.max_iters - runner.iter - 1))
        self.forget()

    def _serve(self, hub: MessageHub) -> None:
        """Be there for who reads the scalars; a hub that others have made does not ask, and gets each as it comes."""
        if not isinstance(hub, LazyMessageHub):
            self._show(hub)
        elif hub.before_read is None:
            hub.before_read = partial(self._show, hub)

    def _show(self, hub: MessageHub) -> None:
        """Let the hub hold what is pending, without asking other ranks: this one alone may be reading."""
        if self._pending:
            columns = self._columns()
            self._put(hub, columns)
            self._shown = {name: len(values) for name, values in columns.items()}

    def _columns(self) -> dict[str, list[float]]:
        """Return what is pending by name; its tensors are read, all at once, and replaced by numbers."""
        rows = self._pending
        waiting = [(row, name) for row in rows for name, value in row.items() if isinstance(value, Tensor)]
        if waiting:
            on_host = torch.stack([_as_float(row[name]) for row, name in waiting]).tolist()
            for (row, name), value in zip(waiting, on_host, strict=True):
                row[name] = value
            self._measured |= {name for _, name in waiting}
        return {name: [row[name] for row in rows if name in row] for name in dict.fromkeys(chain(*rows))}

    def _put(self, hub: MessageHub, columns: dict[str, list[float]]) -> None:
        """Append to the histories at once; one by one, MMEngine's buffer copies itself each time."""
        for name, values in columns.items():
            key = f'train/{name}'
            buffer = hub._log_scalars.get(key)
            if buffer is None:
                buffer = hub._log_scalars[key] = HistoryBuffer(max_length=self.max_history)
            old, counts = buffer.data
            kept = len(old) - self._shown.get(name, 0)
            buffer._log_history = np.concatenate((old[:kept], values))[-self.max_history :]
            buffer._count_history = np.concatenate((counts[:kept], np.ones(len(values))))[-self.max_history :]
            hub._set_resumed_keys(key, resumed=True)  # a checkpoint may fall between two lines


def _longest_window(runner: Runner) -> int:
    """Return over how many iterations a log line may average."""
    processor = runner.log_processor
    named = {'epoch': len(runner.train_dataloader), 'global': runner.max_iters}
    sizes = [processor.window_size, *(item.get('window_size', 0) for item in getattr(processor, 'custom_cfg', ()))]
    return max(named.get(size, size) for size in sizes)


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
