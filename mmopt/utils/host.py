"""What this process may use of its machine: cores, threads and memory, containers counted in."""

import math
import os

from mmopt.utils.cgroup import cpu_quota, memory_left_bytes
from mmopt.utils.platform import allowed_cores, available_memory_bytes, shared_memory_bytes

__all__ = ['available_host_bytes', 'free_shared_memory_bytes', 'limit_threads', 'usable_cores']

_THREADS_OF_THE_USER = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS')


def usable_cores() -> int:
    """Return the cores this process may use: its affinity mask, and the CPU time its container is given.

    ``PYTHON_CPU_COUNT``, which Python knows from 3.13 on, is the user's own word and wins in all versions. A quota of
    2.5 cores counts as 3: so many processes of their own are needed to use it up.

    Returns:
        At least 1.
    """
    return max(1, math.ceil(_share()))


def _share() -> float:
    given = os.environ.get('PYTHON_CPU_COUNT', '')
    if given.isdigit() and int(given):
        return int(given)
    cores, quota = allowed_cores(), cpu_quota()
    return cores if quota is None else min(cores, quota)


def limit_threads(num_processes: int = 1) -> str | None:
    """Let torch compute with no more threads than there are cores for this process.

    torch counts the machine's cores, or those of the affinity mask, but knows nothing of a container's quota: its
    threads then use up the quota in the first part of every period and stand still for the rest of it. A part of a core
    gets no thread: all would wait for it at the end of every product. What the user says by ``OMP_NUM_THREADS`` or
    ``MKL_NUM_THREADS`` stays.

    Args:
        num_processes: Processes of the run that share the cores.

    Returns:
        What was changed, for the log; None if nothing was.
    """
    import torch

    if any(os.environ.get(name) for name in _THREADS_OF_THE_USER):
        return None
    cores = _share()
    threads, before = max(1, int(cores / num_processes)), torch.get_num_threads()
    if before <= threads:
        return None
    torch.set_num_threads(threads)
    shared = f' for {num_processes} processes' if num_processes > 1 else ' for this process'
    return f'threads: {threads} instead of {before}: there are {cores:.3g} cores{shared}.'


def available_host_bytes() -> int:
    """Return the memory that can be used without swapping: the machine's, or what is left of the container's limit."""
    left = memory_left_bytes()
    return available_memory_bytes() if left is None else min(available_memory_bytes(), left)


def free_shared_memory_bytes() -> int | None:
    """Return what is free where workers hand over their batches; None where it has no limit of its own.

    Containers often give it 64 MiB.
    """
    shared = shared_memory_bytes()
    return None if shared is None else shared[0]
