"""Keep on disk where the time of a run went, for its end and for whoever looks at it later."""

import json
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmopt.config.spelling import spoken
from mmopt.engine.hooks.logger_hook import LoggerHook, logs_now
from mmopt.registry import HOOKS
from mmopt.structures import samples_per_batch
from mmopt.utils.host import usable_cores
from mmopt.utils.placement import device_of
from mmopt.utils.precision import this_device

__all__ = ['FILE_NAME', 'TimeSplitHook', 'run_settings']

FILE_NAME = 'time_split.json'
"""In the folder of the time stamp: seconds by part, how many iterations, and the settings that decide about them."""


@HOOKS.register_module()
class TimeSplitHook(Hook):
    """Write :data:`FILE_NAME` at the end, and at log lines as often as it costs nothing.

    Loops of other libraries do not tell their parts apart: of their runs nothing is written.

    Args:
        every_s: Seconds between two writes.
    """

    # After everything that takes time.
    priority = 'LOWEST'

    def __init__(self, every_s: float = 30.0) -> None:
        self.every_s = every_s
        self._written = 0.0
        self._first_iter = 0
        self._num_evaluations = 0

    def before_train(self, runner: Runner) -> None:
        """Note where this session begins."""
        self._first_iter = runner.iter
        self._written = time.monotonic()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Count."""
        self._num_evaluations += 1

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Write when a log line is due and the last one is old."""
        is_old = time.monotonic() - self._written > self.every_s
        if is_old and logs_now(runner, batch_idx) and hasattr(runner.train_loop, 'device_seconds'):
            self.write(runner)

    def after_train(self, runner: Runner) -> None:
        """Write the whole."""
        loop = runner.train_loop
        if not hasattr(loop, 'device_seconds'):
            return
        if torch.cuda.is_available() and loop.device_seconds is not None:
            torch.cuda.synchronize()  # the run is over: nothing is kept waiting
        self.write(runner)

    def write(self, runner: Runner) -> None:
        """Write what there is."""
        self._written = time.monotonic()
        if not is_main_process():
            return
        loop = runner.train_loop
        state = dict(
            seconds=runner.time_split.shares(loop.device_seconds),
            first_iter=self._first_iter,
            last_iter=loop.iters_done,
            num_evaluations=self._num_evaluations,
            settings=run_settings(runner),
        )
        path = Path(runner.log_dir, FILE_NAME)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix('.partial')
        partial.write_text(json.dumps(state, indent=2) + '\n', encoding='utf-8')
        partial.replace(path)


def run_settings(runner: Runner) -> dict[str, Any]:
    """Return the settings that decide where a run spends its time, and of which advice speaks."""
    loop, loader, wrapper = runner.train_loop, runner.train_dataloader, runner.optim_wrapper
    config = runner.cfg.get('train_dataloader') or {}
    logger = next((hook for hook in runner.hooks if isinstance(hook, LoggerHook)), None)
    checkpoint = (runner.cfg.get('default_hooks') or {}).get('checkpoint') or {}
    return dict(
        device='GPU' if loop.device_seconds is not None else 'CPU',
        precision=getattr(wrapper, 'precision', None),
        native_half=this_device(device_of(runner.model).type).native_half,
        batch_size=samples_per_batch(loader),
        num_workers=loader.num_workers,
        num_cores=usable_cores(),
        pin_memory=loader.pin_memory,
        cache=config.get('cache'),
        can_cache=hasattr(loader.dataset, 'prepare_cache'),
        unit=loop.unit,
        dialect=spoken(),
        val_interval=loop.val_interval,
        log_interval=None if logger is None else logger.interval,
        checkpoint_interval=checkpoint.get('interval'),
    )
