import os

import pytest

from mmopt.utils.host import available_host_bytes, free_shared_memory_bytes, usable_cores

KIB = 1024


@pytest.fixture
def cgroup(tmp_path):
    def write(**files: str):
        for name, text in files.items():
            (tmp_path / name.replace('_', '.')).write_text(text)
        return tmp_path

    return write


@pytest.mark.parametrize(('quota', 'expected'), [('max 100000', 4), ('250000 100000', 2), ('50000 100000', 1)])
def test_a_containers_cpu_time_bounds_the_cores(cgroup, monkeypatch, quota, expected):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(range(4)))
    assert usable_cores(cgroup(cpu_max=quota)) == expected


def test_without_a_container_the_affinity_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {1, 3, 5})
    assert usable_cores(tmp_path) == 3


@pytest.mark.parametrize(
    ('files', 'expected_kib'),
    [
        (dict(), 1000),
        (dict(memory_max='max', memory_current='5'), 1000),
        # 800 of which 600 are used, 100 of these page cache that is given back.
        (dict(memory_max=f'{800 * KIB}', memory_current=f'{600 * KIB}', memory_stat=f'inactive_file {100 * KIB}'), 300),
        (dict(memory_max=f'{800 * KIB}', memory_current=f'{900 * KIB}'), 0),
        (dict(memory_max=f'{9000 * KIB}', memory_current=f'{600 * KIB}'), 1000),
    ],
)
def test_free_memory_is_the_machines_or_what_the_container_leaves(cgroup, files, expected_kib):
    folder = cgroup(meminfo='MemTotal: 9000 kB\nMemAvailable: 1000 kB\n', **files)
    assert available_host_bytes(folder, folder / 'meminfo') == expected_kib * KIB


def test_shared_memory_is_that_of_its_file_system(tmp_path):
    assert free_shared_memory_bytes(tmp_path) > 0
    assert free_shared_memory_bytes(tmp_path / 'none') is None
