"""Host memory of a training run: the main process, its workers, and the batches between them.

How batches travel: a worker makes a sample (decoded files and copies), collates a batch into shared memory and queues
it; up to ``workers x prefetch`` batches are under way. With pinned memory each is copied once more by a thread of the
main process, into blocks that PyTorch's pinned allocator rounds up to powers of two.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mmopt.utils.memory import GIB

__all__ = ['HostMemory', 'chunk_frames', 'estimate_host', 'most_workers']

MAIN_GIB = (2.0, 3.0, 4.5)
"""The main process with torch and a CUDA context: least, expected, most. Not calibrated."""
WORKER_GIB = (0.15, 0.3, 0.6)
"""Pages that a forked worker makes its own (Python objects, OpenCV, its own heap): least, expected, most."""


@dataclass(frozen=True)
class HostMemory:
    """Host memory in bytes.

    Attributes:
        main: The main process.
        workers: What the workers hold for themselves, all together.
        samples: Decoded files and copies while samples are made, all workers together.
        batches: Batches under way, in shared memory.
        pinned: Their pinned copies.
        dataset: The data set's own list, once per process.
        low: Least total.
        high: Most.
    """

    main: int
    workers: int
    samples: int
    batches: int
    pinned: int
    dataset: int
    num_workers: int
    low: int
    high: int

    @property
    def total(self) -> int:
        """Expected total."""
        return self.main + self.workers + self.samples + self.batches + self.pinned + self.dataset


def estimate_host(
    *,
    num_workers: int,
    prefetch: int,
    batch_bytes: int,
    sample_bytes: int,
    dataset_bytes: int,
    pin_memory: bool,
    num_processes: int = 1,
) -> HostMemory:
    """Add up what a run takes of the host's memory.

    Args:
        num_workers: Loader processes per training process.
        prefetch: Batches that each prepares ahead.
        batch_bytes: One collated batch.
        sample_bytes: What a worker holds while it makes a sample.
        dataset_bytes: The data set's own list.
        pin_memory: Whether batches are pinned.

    Returns:
        The parts, for all processes.
    """
    # Without workers the main process makes one batch at a time.
    under_way = num_workers * prefetch if num_workers else 1
    pinned = (2 if num_workers else 1) * _power_of_two(batch_bytes) if pin_memory else 0
    makers = max(num_workers, 1)
    main, low_main, high_main = (int(MAIN_GIB[place] * GIB) for place in (1, 0, 2))
    worker, low_worker, high_worker = (int(WORKER_GIB[place] * GIB) for place in (1, 0, 2))
    shared = under_way * batch_bytes + pinned + makers * sample_bytes + dataset_bytes * (1 + num_workers)
    return HostMemory(
        main=num_processes * main,
        workers=num_processes * num_workers * worker,
        samples=num_processes * makers * sample_bytes,
        batches=num_processes * under_way * batch_bytes,
        pinned=num_processes * pinned,
        dataset=num_processes * dataset_bytes * (1 + num_workers),
        num_workers=num_workers,
        low=num_processes * (low_main + num_workers * low_worker + shared),
        high=num_processes * (high_main + num_workers * high_worker + shared),
    )


def most_workers(ram_bytes: int, facts: Mapping, *, limit: int = 64) -> int | None:
    """Return how many workers fit.

    Args:
        ram_bytes: The machine's memory; a tenth is left to the system.
        facts: Arguments of :func:`estimate_host` without ``num_workers``.
        limit: No more are looked for.

    Returns:
        Workers; None if not even the main process fits.
    """
    usable = int(ram_bytes * 0.9)
    fitting = [count for count in range(limit + 1) if estimate_host(num_workers=count, **facts).total <= usable]
    return max(fitting) if fitting else None


def chunk_frames(ram_bytes: int, frame_bytes: int, num_workers: int) -> int:
    """Return how many decoded frames each maker of samples may hold at once, when half the memory is theirs.

    Args:
        ram_bytes: The machine's memory.
        frame_bytes: One decoded frame of all views.
        num_workers: Workers; without any the main process makes the samples.

    Returns:
        Frames of a chunk (``max_video_frames``).
    """
    return int(ram_bytes * 0.5) // max(num_workers, 1) // frame_bytes


def _power_of_two(size: int) -> int:
    return 1 << max(size - 1, 0).bit_length() if size else 0
