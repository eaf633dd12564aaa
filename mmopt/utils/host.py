"""What this process may use of its machine: cores and memory, containers counted in."""

import os
from pathlib import Path

__all__ = ['available_host_bytes', 'free_shared_memory_bytes', 'usable_cores']

_CGROUP = Path('/sys/fs/cgroup')
_SHARED_MEMORY = Path('/dev/shm')


def _number_in(path: Path) -> int | None:
    try:
        text = path.read_text().split()[0]
    except (OSError, IndexError):
        return None
    return int(text) if text.isdigit() else None


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """Return the cores this process may run on: its affinity, and the CPU time its container is given.

    Args:
        cgroup: Where the container's limits are (cgroup v2).

    Returns:
        At least 1.
    """
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = (cgroup / 'cpu.max').read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == 'max' else max(1, min(cores, int(quota) // int(period)))


def available_host_bytes(cgroup: Path = _CGROUP, meminfo: Path = Path('/proc/meminfo')) -> int:
    """Return the memory that can be used without swapping: the machine's, or what is left of the container's limit.

    Args:
        cgroup: Where the container's limits are (cgroup v2).
        meminfo: The kernel's table.

    Returns:
        Bytes.
    """
    lines = dict(line.split(':', 1) for line in meminfo.read_text().splitlines() if ':' in line)
    available = int(lines['MemAvailable'].split()[0]) * 1024
    limit, used = _number_in(cgroup / 'memory.max'), _number_in(cgroup / 'memory.current')
    if limit is None or used is None:
        return available
    try:
        stat = dict(line.split() for line in (cgroup / 'memory.stat').read_text().splitlines())
        used -= int(stat.get('inactive_file', 0))  # page cache, given back when memory is asked for
    except (OSError, ValueError):
        pass
    return max(0, min(available, limit - used))


def free_shared_memory_bytes(folder: Path = _SHARED_MEMORY) -> int | None:
    """Return what is free where workers hand over their batches; None where there is no such folder.

    Args:
        folder: Where shared memory is mounted. Containers often give it 64 MiB.

    Returns:
        Bytes, or None.
    """
    try:
        state = os.statvfs(folder)
    except OSError:
        return None
    return state.f_bavail * state.f_frsize
