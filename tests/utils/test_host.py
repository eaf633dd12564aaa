import os
import subprocess
import sys

import pytest
import torch

from mmopt.utils import host, platform
from mmopt.utils.host import available_host_bytes, free_shared_memory_bytes, limit_threads, usable_cores
from tests.conftest import REPO


@pytest.fixture
def cores(monkeypatch):
    def give(allowed: int, quota: float | None = None) -> None:
        monkeypatch.setattr(host, 'allowed_cores', lambda: allowed)
        monkeypatch.setattr(host, 'cpu_quota', lambda: quota)

    for name in ('PYTHON_CPU_COUNT', 'OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
        monkeypatch.delenv(name, raising=False)
    return give


@pytest.mark.parametrize(
    ('allowed', 'quota', 'expected'),
    [(4, None, 4), (4, 2.0, 2), (4, 2.5, 3), (4, 0.2, 1), (3, 16.0, 3)],
)
def test_affinity_and_quota_bound_the_cores(cores, allowed, quota, expected):
    cores(allowed, quota)
    assert usable_cores() == expected


def test_the_users_own_word_on_cores_wins(cores, monkeypatch):
    cores(4, 2.0)
    monkeypatch.setenv('PYTHON_CPU_COUNT', '6')
    assert usable_cores() == 6
    monkeypatch.setenv('PYTHON_CPU_COUNT', 'default')
    assert usable_cores() == 2


@pytest.fixture
def eight_threads(monkeypatch):
    counts = [8]
    monkeypatch.setattr(torch, 'get_num_threads', lambda: counts[-1])
    monkeypatch.setattr(torch, 'set_num_threads', counts.append)
    return counts


def test_torch_computes_with_no_more_threads_than_it_may_use(cores, eight_threads):
    cores(8, 3.0)
    assert limit_threads() == 'threads: 3 instead of 8: there are 3 cores for this process.'
    assert eight_threads == [8, 3]
    assert limit_threads() is None


@pytest.mark.parametrize(('quota', 'expected'), [(2.5, 2), (0.5, 1)])
def test_a_part_of_a_core_gets_no_thread(cores, eight_threads, quota, expected):
    cores(8, quota)
    assert f'there are {quota} cores' in limit_threads()
    assert eight_threads[-1] == expected


def test_processes_of_one_machine_share_its_cores(cores, eight_threads):
    cores(8, 4.0)
    assert 'threads: 2 instead of 8: there are 4 cores for 2 processes.' in limit_threads(2)
    assert limit_threads(16) is not None
    assert eight_threads[-1] == 1


@pytest.mark.parametrize('name', ['OMP_NUM_THREADS', 'MKL_NUM_THREADS'])
def test_threads_given_by_the_user_stay(cores, eight_threads, monkeypatch, name):
    cores(8, 1.0)
    monkeypatch.setenv(name, '8')
    assert limit_threads() is None
    assert eight_threads == [8]


def test_free_memory_is_the_machines_or_what_the_container_leaves(monkeypatch):
    monkeypatch.setattr(host, 'available_memory_bytes', lambda: 1000)
    for left, expected in ((None, 1000), (300, 300), (2**62, 1000)):
        monkeypatch.setattr(host, 'memory_left_bytes', lambda left=left: left)
        assert available_host_bytes() == expected


def test_shared_memory_is_that_of_its_file_system(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, 'SHARED_MEMORY', tmp_path)
    assert free_shared_memory_bytes() > 0
    monkeypatch.setattr(platform, 'SHARED_MEMORY', tmp_path / 'none')
    assert free_shared_memory_bytes() is None


@pytest.mark.skipif(not hasattr(os, 'sched_setaffinity'), reason='this system binds no process to cores')
def test_a_process_bound_to_one_core_uses_one():
    script = (
        'import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); '
        'from mmopt.utils.host import usable_cores; print(usable_cores())'
    )
    env = {**os.environ, 'PYTHONPATH': str(REPO)}
    done = subprocess.run([sys.executable, '-c', script], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == '1\n'
