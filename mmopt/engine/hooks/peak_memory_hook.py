"""Log how much memory a run takes, on whatever device it runs."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmopt.engine.hooks.logger_hook import logs_now
from mmopt.registry import HOOKS
from mmopt.utils.memory import host_peak_gib, read_peak_memory

__all__ = ['PeakMemoryHook']


@HOOKS.register_module()
class PeakMemoryHook(Hook):
    """Write memory peaks to the message hub when a log line is due.

    ======================== =========================================================
    ``train/mem_alloc_gib``  CUDA: peak of live tensors since the last line, GiB
    ``train/mem_reserv_gib`` CUDA: peak held from the driver since the last line, GiB
    ``train/mem_host_gib``   peak resident memory of the process since its start, GiB
    ======================== =========================================================

    It reads counters only and never synchronises the device.
    """

    # Before LoggerHook (VERY_LOW), so that a reading is in the log line of its own iteration.
    priority = 'NORMAL'

    def __init__(self) -> None:
        self._num_retries = 0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Read the counters when a log line is due."""
        if not logs_now(runner, batch_idx):
            return
        hub = runner.message_hub
        hub.update_scalar('train/mem_host_gib', host_peak_gib())
        peak = read_peak_memory(next(runner.model.parameters()).device)
        if peak is None:
            return
        hub.update_scalar('train/mem_alloc_gib', peak.allocated_gib)
        hub.update_scalar('train/mem_reserv_gib', peak.reserved_gib)
        if peak.num_retries > self._num_retries:
            runner.logger.warning(
                f'The allocator ran full {peak.num_retries - self._num_retries} time(s) since the last line '
                f'(peak {peak.reserved_gib:.1f} GiB reserved); each costs a device sync. Lower the batch, or set '
                'PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True.'
            )
            self._num_retries = peak.num_retries
