"""Is there room for what workers hand over? Said before the first batch: later, a worker dies of a bus error.

On Linux a worker collates a batch into files of ``/dev/shm``, whichever sharing strategy torch is told to use: a tensor
of 32 MiB was seen to take 32 MiB there with ``file_descriptor`` and with ``file_system``. So there is nothing to fall
back to but fewer batches under way. Docker gives a container 64 MiB.
"""

from typing import Any

from mmopt.config.spelling import spelled
from mmopt.engine.loading.workers import TORCH_PREFETCH, bytes_of
from mmopt.utils.distributed import local_world_size
from mmopt.utils.host import free_shared_memory_bytes
from mmopt.utils.memory import GIB
from mmopt.utils.platform import SHARED_MEMORY

__all__ = ['room_warning', 'warning_for']

# With more than this, not even a sample is read to know better: the machine was not given a small part.
_SURELY_ENOUGH_BYTES = 8 * GIB


def room_warning(
    batch_bytes: int, num_workers: int, prefetch_factor: int, free_bytes: int, num_processes: int = 1
) -> str | None:
    """Compare the batches that are under way at once with the room for them.

    Args:
        batch_bytes: Size of a batch.
        num_workers: Workers of a process.
        prefetch_factor: Batches that each works ahead.
        free_bytes: Free shared memory.
        num_processes: Processes of the run on this machine.

    Returns:
        What is needed, what there is, and the remedies; None if there is room.
    """

    def needed(workers: int) -> int:
        # Those of the workers, and the one that the loop has in use.
        return num_processes * (workers * prefetch_factor + 1) * batch_bytes if workers else 0

    if needed(num_workers) <= free_bytes:
        return None
    fitting = max(count for count in range(num_workers) if needed(count) <= free_bytes)
    processes = f'{num_processes} processes x ' if num_processes > 1 else ''
    gib = -(-needed(num_workers) * 5 // (4 * GIB))
    return (
        f'shared memory: {processes}{num_workers} workers x {prefetch_factor} batches of {_size(batch_bytes)} and the '
        f'one in use need {_size(needed(num_workers))}, {SHARED_MEMORY} has {_size(free_bytes)} free: a worker would '
        f'die of a bus error. Make it larger (docker run --shm-size={gib}g, or --ipc=host), or take '
        f'{spelled("train_dataloader.num_workers")}={fitting}.'
    )


def warning_for(dataset: Any, batch_size: int, num_workers: int, prefetch_factor: int | None) -> str | None:
    """Look at this machine, and at one sample where it has little room.

    Args:
        dataset: The data set.
        batch_size: Samples per batch.
        prefetch_factor: Batches that each works ahead; None for torch's 2.

    Returns:
        As :func:`room_warning`; None without workers, and where shared memory has no limit of its own.
    """
    free = free_shared_memory_bytes() if num_workers else None
    if free is None or free > _SURELY_ENOUGH_BYTES:
        return None
    num_bytes = bytes_of(dataset)
    if num_bytes is None:
        return None
    return room_warning(
        batch_size * num_bytes, num_workers, prefetch_factor or TORCH_PREFETCH, free, local_world_size()
    )


def _size(num_bytes: int) -> str:
    return f'{num_bytes / GIB:.3g} GiB' if num_bytes >= GIB else f'{num_bytes / GIB * 1024:.3g} MiB'
