"""Leave a picture of the allocator when memory runs out: which line allocated each block."""

from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmopt.registry import HOOKS
from mmopt.utils.placement import device_of

__all__ = ['MemorySnapshotHook']


@HOOKS.register_module()
class MemorySnapshotHook(Hook):
    """Dump the CUDA allocator's blocks and their stack traces at each out-of-memory error, the first few.

    The files ``memory_rank<r>_<n>.pickle`` lie in the work dir; https://pytorch.org/memory_viz shows them. Recording
    costs some per cent of the time of small kernels, so the hook is for looking, not for every run. On a CPU there is
    no allocator to look at, which the log says.

    Args:
        max_snapshots: Files per process.
        max_entries: Allocations to remember.

    Raises:
        ValueError: If a number is not positive.
    """

    def __init__(self, max_snapshots: int = 3, max_entries: int = 100_000) -> None:
        if max_snapshots < 1 or max_entries < 1:
            raise ValueError(
                f'MemorySnapshotHook: the numbers must be positive, got {max_snapshots} and {max_entries}.'
            )
        self.max_snapshots = max_snapshots
        self.max_entries = max_entries
        self.num_snapshots = 0
        self._records = self._observes = False

    def before_train(self, runner: Runner) -> None:
        """Begin to record."""
        if device_of(runner.model).type != 'cuda':
            runner.logger.warning('MemorySnapshotHook has no effect: the model is not on a CUDA device.')
            return
        # Python's stacks alone: those of C++ make every allocation slow, and are looked up with tools not all have.
        torch.cuda.memory._record_memory_history(max_entries=self.max_entries, stacks='python')
        self._records = True
        if self._observes:  # torch takes no observer away again
            return
        self._observes = True

        def on_out_of_memory(device: int, alloc: int, device_alloc: int, device_free: int) -> None:
            del device, alloc, device_alloc, device_free  # torch's calling convention
            if self._records:
                self.dump(runner)

        bindings: Any = torch._C
        bindings._cuda_attach_out_of_memory_observer(on_out_of_memory)

    def dump(self, runner: Runner) -> None:
        """Write a snapshot, unless there are enough."""
        if self.num_snapshots == self.max_snapshots:
            return
        self.num_snapshots += 1
        path = Path(runner.work_dir, f'memory_rank{get_rank()}_{self.num_snapshots}.pickle')
        torch.cuda.memory._dump_snapshot(str(path))
        runner.logger.warning(f'Out of memory: who holds it is in {path} (open it at https://pytorch.org/memory_viz).')

    def after_train(self, runner: Runner) -> None:
        """Stop recording."""
        if device_of(runner.model).type == 'cuda':
            torch.cuda.memory._record_memory_history(enabled=None)
            self._records = False
