"""What a container grants: the limits of the control groups in which this process is, of both versions.

A process is in a group of each hierarchy (``/proc/self/cgroup``), and all groups above it up to the root count as well:
the smallest limit holds. Where a hierarchy is mounted and which of its groups the mount begins with, which inside of a
container is mostly the container's own, ``/proc/self/mountinfo`` tells. Outside Linux there are no groups, hence no
limits.

Kernel documentation: https://docs.kernel.org/admin-guide/cgroup-v2.html and .../cgroup-v1/
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mmopt.utils.platform import read_kernel_file

__all__ = ['cpu_quota', 'memory_left_bytes']

_PAGE_CACHE = ('total_inactive_file', 'inactive_file')


def cpu_quota() -> float | None:
    """Return how many cores' worth of time this process is given, e.g. 1.5; None if nobody limits it."""
    quotas = []
    for folder, version in _groups('cpu'):
        if version == 2:
            words = _read(folder / 'cpu.max').split()
            quota, period = (words[0], words[1]) if len(words) == 2 else ('', '')
        else:
            quota, period = _read(folder / 'cpu.cfs_quota_us'), _read(folder / 'cpu.cfs_period_us')
        if quota.isdigit() and period.isdigit() and int(period):  # 'max' and -1 are no limits
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def memory_left_bytes() -> int | None:
    """Return what the limits leave of memory: page cache, which is given back on demand, counts as free.

    Returns:
        Bytes, at least 0; None if nobody limits it.
    """
    names = {
        1: (('memory.limit_in_bytes',), 'memory.usage_in_bytes'),
        # Beyond "high" a group is not ended but slowed down until it has given memory back.
        2: (('memory.max', 'memory.high'), 'memory.current'),
    }
    left = []
    for folder, version in _groups('memory'):
        limit_files, usage_file = names[version]
        limits = [int(text) for text in (_read(folder / name) for name in limit_files) if text.isdigit()]
        usage = _read(folder / usage_file)
        if limits and usage.isdigit():
            left.append(max(0, min(limits) - int(usage) + _page_cache(folder)))
    return min(left, default=None)


def _page_cache(folder: Path) -> int:
    stat = dict(line.split()[:2] for line in _read(folder / 'memory.stat').splitlines() if ' ' in line)
    # Version 1 counts groups below only under "total_".
    return next((int(stat[name]) for name in _PAGE_CACHE if stat.get(name, '').isdigit()), 0)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8').strip()
    except OSError:
        return ''


def _groups(controller: str) -> Iterator[tuple[Path, int]]:
    """Yield the folders of the groups, from the process's own up to the root, and their version."""
    own: dict[str, str] = {}
    for line in read_kernel_file('self/cgroup').splitlines():
        _, names, path = line.split(':', 2)
        own |= dict.fromkeys(names.split(','), path)  # the name of version 2 is empty
    for line in read_kernel_file('self/mountinfo').splitlines():
        mount, _, filesystem = line.partition(' - ')
        root, place = mount.split()[3:5]
        kind, _, options = filesystem.split()[:3]
        version = dict(cgroup=1, cgroup2=2).get(kind)
        if version is None or (version == 1 and controller not in options.split(',')):
            continue
        group = own.get('' if version == 2 else controller)
        if group is not None:
            yield from ((folder, version) for folder in _up_to_root(Path(place), root, group))


def _up_to_root(place: Path, root: str, path: str) -> Iterator[Path]:
    try:
        inside = PurePosixPath(path).relative_to(root)
    except ValueError:  # the path is that of another namespace: only the mount's own group is known
        inside = PurePosixPath()
    if '..' in inside.parts:
        inside = PurePosixPath()
    for part in (inside, *inside.parents):
        if Path(place, part).is_dir():
            yield Path(place, part)
