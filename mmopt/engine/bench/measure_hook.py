"""Run as many iterations as a measurement needs, and leave."""

import os
import time
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmopt.engine.bench.step_clock import StepClock
from mmopt.utils.memory import host_peak_gib, read_peak_memory, workers_gib
from mmopt.utils.placement import device_of

__all__ = ['EnoughMeasured', 'MeasureHook']


class EnoughMeasured(Exception):
    """Raised from inside the loop: neither an evaluation nor the end of the training follows."""


class MeasureHook(Hook):
    """Time iterations, keep their losses, and stop the run.

    Args:
        warmup: Iterations that are not timed: they compile, autotune and fill caches. Their losses count.
        iters: Iterations that are timed.
        val_batches: Evaluation batches to time, when the evaluation loop is run afterwards.
        parent_pid: Process that waits for the result: when it is gone, so is the reason to go on.
    """

    # Last, so that logs and checkpoints belong to the iteration that pays for them.
    priority = 'LOWEST'

    def __init__(self, warmup: int, iters: int, val_batches: int = 0, parent_pid: int | None = None) -> None:
        self.warmup = warmup
        self.iters = iters
        self.val_batches = val_batches
        self.parent_pid = parent_pid
        self.losses: list[float] = []
        self.last_batch: Any = None
        self.val_batch_s: list[float] = []
        self.peak_gib: dict[str, float] = {}
        self._loss_tensors: list[Tensor] = []
        self._done = 0
        self._val_end = 0.0

    def before_train(self, runner: Runner) -> None:
        """Put the clock around the step."""
        self.device = device_of(runner.model)
        self.clock = StepClock(self.device)
        self.clock.attach(runner.train_loop.step)
        read_peak_memory(self.device)
        if not self.warmup:
            self.clock.start()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Note the iteration; stop after the last."""
        if self.parent_pid is not None and os.getppid() != self.parent_pid:
            raise SystemExit('nobody waits for this measurement any more.')
        assert outputs is not None
        self._done += 1
        self._loss_tensors.append(outputs['loss'])
        if self._done > self.warmup:
            self.clock.end_iteration(outputs['data_time'])
        elif self._done == self.warmup:
            self.clock.start()
        if self._done == self.warmup + self.iters:
            self.last_batch = data_batch
            self._finish(runner)
            raise EnoughMeasured

    def _finish(self, runner: Runner) -> None:
        self.losses = [float(loss) for loss in self._loss_tensors]
        self.peak_gib = dict(host=host_peak_gib() + (workers_gib() or 0.0))
        peak = read_peak_memory(self.device)
        if peak is None:
            return
        self.peak_gib |= dict(allocated=peak.allocated_gib, reserved=peak.reserved_gib)
        # PeakMemoryHook resets the counters at log lines, and keeps what they were.
        for name, key in (('allocated', 'mem_alloc_gib'), ('reserved', 'mem_reserv_gib')):
            if f'train/{key}' in runner.message_hub.log_scalars:
                values, _ = runner.message_hub.get_scalar(f'train/{key}').data
                self.peak_gib[name] = max(self.peak_gib[name], *map(float, values))

    def before_val_epoch(self, runner: Runner) -> None:
        """Begin to time an evaluation."""
        self._val_end = time.perf_counter()

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Time an evaluation batch, whose metrics have read the predictions; stop after the last."""
        now = time.perf_counter()
        self.val_batch_s.append(now - self._val_end)
        self._val_end = now
        if batch_idx + 1 >= self.val_batches:
            raise EnoughMeasured
