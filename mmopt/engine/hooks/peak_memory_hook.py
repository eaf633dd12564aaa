"""Log how much memory a run takes and how busy its card is, and warn at the edge."""

import math
import multiprocessing
import time
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmopt.engine.hooks.logger_hook import logs_now
from mmopt.engine.hooks.resource_warnings import memory_warning, retry_warning, room_hint, waiting_warning
from mmopt.registry import HOOKS
from mmopt.utils.core_utilization import CoreUtilization
from mmopt.utils.memory import host_peak_gib, read_peak_memory, total_memory_gib, workers_gib
from mmopt.utils.placement import device_of

__all__ = ['SETTLED', 'PeakMemoryHook']

_WORKERS_EVERY_S = 30.0
SETTLED = 3
"""Log lines after which the peak of a run is known: the first are of short batches, warm-up and kernels' trials."""


@HOOKS.register_module()
class PeakMemoryHook(Hook):
    """Write memory peaks and utilization to the message hub when a log line is due: to log, curves and TensorBoard.

    ========================= ==========================================================================
    ``train/mem_alloc_gib``   CUDA: peak of live tensors since the last line, GiB
    ``train/mem_reserv_gib``  CUDA: peak held from the driver since the last line, GiB
    ``train/mem_used``        CUDA: the latter as a share of the card
    ``train/mem_retries``     CUDA: times the allocator ran full and emptied its cache, since the start
    ``train/gpu_busy``        CUDA, with nvidia-ml-py: per cent of time in which a kernel ran
    ``train/mem_host_gib``    peak resident memory of the process since its start, GiB
    ``train/mem_workers_gib`` loader workers together, shared pages counted once, GiB
    ========================= ==========================================================================

    It reads counters only and never synchronizes the device. It warns, each once in a run but for retries, when more
    than 94 % of the card are taken, when the allocator ran full, and when the card is less than 80 % busy while the
    loop waits for data. It says once when half of the card is empty after :data:`SETTLED` log lines.
    """

    # Before LoggerHook (VERY_LOW), so that a reading is in the log line of its own iteration.
    priority = 'NORMAL'

    _device: torch.device  # set with _cores

    def __init__(self) -> None:
        self._num_retries = 0
        self._num_lines, self._most_gib = 0, 0.0
        self._cores: CoreUtilization | None = None
        self._workers_read = -math.inf
        self._seconds: list[tuple[float, float]] = []
        self._said: set[str] = set()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Sample the cores; read the counters when a log line is due."""
        if self._cores is None:  # once: looking for the first parameter walks through the modules
            self._device = device_of(runner.model)
            self._cores = CoreUtilization(self._device)
        device = self._device
        self._cores.sample()
        outputs = outputs or {}
        self._seconds.append((outputs.get('data_time', 0.0), outputs.get('time', 0.0)))
        if not logs_now(runner, batch_idx):
            return
        hub = runner.message_hub
        hub.update_scalar('train/mem_host_gib', host_peak_gib())
        # Every process of the machine is looked at, and every page of each worker: milliseconds, not for each line.
        is_due = multiprocessing.active_children() and time.monotonic() - self._workers_read > _WORKERS_EVERY_S
        workers = workers_gib() if is_due else None
        if workers is not None:
            self._workers_read = time.monotonic()
            hub.update_scalar('train/mem_workers_gib', workers)
        busy_percent = self._cores.read_percent()
        if busy_percent is not None:
            hub.update_scalar('train/gpu_busy', busy_percent)
        wait_s, iter_s = (sum(column) / len(self._seconds) for column in zip(*self._seconds, strict=True))
        self._seconds.clear()
        self._warn(runner, 'waiting', waiting_warning(busy_percent, wait_s, iter_s, _num_workers(runner)))
        peak = read_peak_memory(device)
        if peak is None:
            return
        total_gib = total_memory_gib(device)
        hub.update_scalar('train/mem_alloc_gib', peak.allocated_gib)
        hub.update_scalar('train/mem_reserv_gib', peak.reserved_gib)
        hub.update_scalar('train/mem_used', peak.reserved_gib / total_gib)
        hub.update_scalar('train/mem_retries', peak.num_retries)
        self._warn(runner, 'memory', memory_warning(peak.reserved_gib, total_gib))
        self._num_lines, self._most_gib = self._num_lines + 1, max(self._most_gib, peak.reserved_gib)
        if self._num_lines == SETTLED and (text := room_hint(self._most_gib, total_gib, _batch_size(runner))):
            runner.logger.info(text)
        self._warn(
            runner, f'retry {peak.num_retries}', retry_warning(peak.num_retries - self._num_retries, peak.reserved_gib)
        )
        self._num_retries = peak.num_retries

    def _warn(self, runner: Runner, kind: str, text: str | None) -> None:
        if text is not None and kind not in self._said:
            self._said.add(kind)
            runner.logger.warning(text)


def _batch_size(runner: Runner) -> int:
    return getattr(runner.train_dataloader, 'batch_size', None) or 1


def _num_workers(runner: Runner) -> int:
    return getattr(runner.train_dataloader, 'num_workers', 0)
