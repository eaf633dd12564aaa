"""The limits of control groups, read from tables and folders as the kernel lays them out."""

import pytest

from mmopt.utils import platform
from mmopt.utils.cgroup import cpu_quota, memory_left_bytes

NONE = 2**63 - 4096  # what version 1 says without a limit
MIB = 2**20


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Write ``/proc/self`` and the mounted groups; relative names are of the folder ``cgroup``."""

    def write(own: str, mounts: list[str], files: dict[str, object]) -> None:
        table = tmp_path / 'proc' / 'self'
        table.mkdir(parents=True)
        (table / 'cgroup').write_text(own)
        groups = str(tmp_path / 'cgroup')
        lines = (f'{30 + n} 23 0:{n} {line.replace("CGROUP", groups)}\n' for n, line in enumerate(mounts))
        (table / 'mountinfo').write_text('22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/sda rw\n' + ''.join(lines))
        for name, content in files.items():
            path = tmp_path / 'cgroup' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f'{content}\n')

    monkeypatch.setattr(platform, 'PROC', tmp_path / 'proc')
    (tmp_path / 'cgroup').mkdir()
    return write


V2 = ['/ CGROUP rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate']
V1 = [
    '/ CGROUP/cpu,cpuacct rw shared:5 - cgroup cgroup rw,cpu,cpuacct',
    '/ CGROUP/memory rw shared:6 - cgroup cgroup rw,memory',
]


def test_without_groups_nothing_is_limited(machine):
    assert cpu_quota() is None
    assert memory_left_bytes() is None
    machine('0::/\n', V2, {})
    assert cpu_quota() is None
    assert memory_left_bytes() is None


@pytest.mark.parametrize(
    ('text', 'expected'), [('max 100000', None), ('250000 100000', 2.5), ('25000 50000', 0.5), ('', None)]
)
def test_version_2_gives_a_part_of_a_core_too(machine, text, expected):
    machine('0::/\n', V2, {'cpu.max': text})
    assert cpu_quota() == expected


def test_the_smallest_quota_from_the_own_group_to_the_root_counts(machine):
    files = {'a/b/c/cpu.max': '400000 100000', 'a/b/cpu.max': '150000 100000', 'a/cpu.max': 'max 100000'}
    machine('0::/a/b/c\n', V2, files | {'other/cpu.max': '10000 100000'})
    assert cpu_quota() == 1.5


def test_version_1_is_read_where_its_hierarchies_are_mounted(machine):
    files = {
        'cpu,cpuacct/job/cpu.cfs_quota_us': 300000,
        'cpu,cpuacct/job/cpu.cfs_period_us': 100000,
        'cpu,cpuacct/cpu.cfs_quota_us': -1,
        'cpu,cpuacct/cpu.cfs_period_us': 100000,
        'memory/job/memory.limit_in_bytes': 100 * MIB,
        'memory/job/memory.usage_in_bytes': 90 * MIB,
        'memory/job/memory.stat': f'cache 1\ninactive_file 0\ntotal_inactive_file {30 * MIB}',
        'memory/memory.limit_in_bytes': NONE,
        'memory/memory.usage_in_bytes': 900 * MIB,
    }
    machine('5:cpu,cpuacct:/job\n4:memory:/job\n0::/\n', V1, files)
    assert cpu_quota() == 3.0
    assert memory_left_bytes() == 40 * MIB


def test_a_container_without_a_namespace_of_its_own_sees_its_groups_at_the_mount(machine):
    # What Docker does under version 1: the table names the host's path, the mount begins with it.
    mounts = ['/docker/4f2 CGROUP/cpu ro - cgroup cgroup rw,cpu']
    files = {'cpu/cpu.cfs_quota_us': 200000, 'cpu/cpu.cfs_period_us': 100000}
    inner = {'cpu/step/cpu.cfs_quota_us': 50000, 'cpu/step/cpu.cfs_period_us': 100000}
    machine('2:cpu:/docker/4f2/step\n', mounts, files | inner)
    assert cpu_quota() == 0.5


@pytest.mark.parametrize('path', ['/host/path/of/it', '/../sibling'])
def test_a_path_of_another_namespace_leaves_the_mounts_own_group(machine, path):
    machine(f'0::{path}\n', ['/docker/4f2 CGROUP rw - cgroup2 cgroup2 rw'], {'cpu.max': '200000 100000'})
    assert cpu_quota() == 2.0


def test_memory_of_version_2_is_what_the_narrowest_group_leaves(machine):
    files = {
        'a/memory.max': 800 * MIB,
        'a/memory.high': 700 * MIB,
        'a/memory.current': 600 * MIB,
        'a/memory.stat': f'anon 5\ninactive_file {100 * MIB}',
        'memory.max': 'max',
        'memory.high': 'max',
        'memory.current': 5000 * MIB,
    }
    machine('0::/a\n', V2, files)
    assert memory_left_bytes() == 200 * MIB


def test_a_group_over_its_limit_leaves_nothing(machine):
    machine('0::/\n', V2, {'memory.max': 100, 'memory.current': 900})
    assert memory_left_bytes() == 0
