"""What a system lacks, taken away piece by piece; tests/engine/test_bare_system.py takes all of it from whole runs."""

import re
import signal
import sys
from types import SimpleNamespace

import pytest

from mmopt.utils import platform
from tests.conftest import REPO

# Only mmopt/utils/platform.py may name these.
LINUX_OR_POSIX_ONLY = re.compile(
    r'import (?:resource|fcntl|pwd|grp|termios|msvcrt|winreg)\b|signal\.SIG(?!INT|TERM|_)\w+'
    r'|os\.(?:fork|getuid|getpgid|setsid|killpg|sched_\w+|statvfs|p(?:read|write)v?\(|memfd_create|posix_\w+|uname|'
    r'sysconf|mkfifo|nice|getloadavg|readlink|symlink|cpu_count|process_cpu_count)\b'
    r"|['\"]/(?:proc|sys|dev)/|ctypes\.CDLL|symlink_to|get_context\('fork|cpu_count\(|setrlimit|os\.O_[A-Z]+"
)
# What is left, with its reason.
ELSEWHERE = {
    ('mmopt/apis/cli/pipe.py', 'os.O_WRONLY'),  # of os.devnull, on all systems
    ('mmopt/utils/run_lock.py', 'os.O_RDWR'),  # of a file, on all systems
    ('mmopt/utils/run_lock.py', 'os.O_CREAT'),
    ('mmopt/apis/doctor/machine.py', "'/dev/"),  # in a line for people, where there is such a folder
    ('mmopt/datasets/common/cache/build.py', 'os.O_RDONLY'),  # of anonymous memory, after asking for it
    ('mmopt/datasets/bev/prepare/write.py', 'symlink_to'),  # --link symlink: a wish, refused with a message
    ('benchmarks/gpu_suite/parent.py', 'os.killpg'),  # on a rented Linux machine; imports nothing that could fail
    ('benchmarks/gpu_suite/parent.py', 'signal.SIGKILL'),
}


def test_one_module_alone_knows_what_systems_lack():
    found = set()
    for path in sorted([*REPO.glob('mmopt/**/*.py'), *REPO.glob('tools/**/*.py'), *REPO.glob('benchmarks/**/*.py')]):
        if path != REPO / 'mmopt' / 'utils' / 'platform.py':
            code = re.sub(r'""".*?"""|#[^\n]*', '', path.read_text(encoding='utf-8'), flags=re.DOTALL)
            found |= {(path.relative_to(REPO).as_posix(), match[0]) for match in LINUX_OR_POSIX_ONLY.finditer(code)}
    assert found == ELSEWHERE


@pytest.mark.parametrize('wanted', ['fork', 'forkserver'])
def test_without_fork_processes_are_spawned_and_one_line_says_so(monkeypatch, wanted):
    monkeypatch.delattr(platform.os, 'fork')
    method, note = platform.start_method(wanted)
    assert method == 'spawn'
    assert note == f'mp_start_method={wanted!r}: this system cannot fork; workers are started by spawn.'
    assert platform.process_context(wanted).get_start_method() == 'spawn'
    assert platform.start_method('spawn') == ('spawn', None)


def test_macos_does_not_fork_beside_its_frameworks(monkeypatch):
    monkeypatch.setattr(sys, 'platform', 'darwin')
    method, note = platform.start_method('fork')
    assert method == 'spawn'
    assert 'Accelerate' in note
    assert '\n' not in note
    # A server that is clean of them may.
    assert platform.start_method('forkserver') == ('forkserver', None)


def test_where_it_can_fork_it_does():
    assert platform.start_method('fork') == ('fork', None)
    assert platform.process_context('fork').get_start_method() == 'fork'


def test_cores_come_from_whoever_knows_them(monkeypatch):
    import psutil

    monkeypatch.setattr(platform.os, 'process_cpu_count', lambda: 5, raising=False)
    assert platform.allowed_cores() == 5
    monkeypatch.delattr(platform.os, 'process_cpu_count')
    monkeypatch.setattr(platform.os, 'sched_getaffinity', lambda pid: {1, 3, 4})
    assert platform.allowed_cores() == 3
    monkeypatch.delattr(platform.os, 'sched_getaffinity')
    monkeypatch.setattr(psutil, 'Process', lambda: SimpleNamespace(cpu_affinity=lambda: [0, 1]))
    assert platform.allowed_cores() == 2
    monkeypatch.setattr(psutil, 'Process', SimpleNamespace)
    monkeypatch.setattr(platform.os, 'cpu_count', lambda: 7)
    assert platform.allowed_cores() == 7


def test_the_peak_is_in_bytes_on_each_system(monkeypatch):
    usage = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: SimpleNamespace(ru_maxrss=300))
    monkeypatch.setattr(platform, 'resource', usage)
    monkeypatch.setattr(sys, 'platform', 'linux')
    assert platform.peak_resident_bytes() == 300 * 1024
    monkeypatch.setattr(sys, 'platform', 'darwin')
    assert platform.peak_resident_bytes() == 300


def test_without_resource_the_peak_is_windows_or_the_highest_found(monkeypatch):
    import psutil

    readings = [SimpleNamespace(rss=50), SimpleNamespace(rss=20), SimpleNamespace(rss=30, peak_wset=70)]
    monkeypatch.setattr(psutil, 'Process', lambda: SimpleNamespace(memory_info=lambda: readings.pop(0)))
    monkeypatch.setattr(platform, 'resource', None)
    monkeypatch.setattr(platform, '_highest_resident', 0)
    assert [platform.peak_resident_bytes() for _ in range(3)] == [50, 50, 70]
    assert platform.max_open_files() is None


def test_free_memory_without_the_kernels_table_is_psutils(tmp_path, monkeypatch):
    import psutil

    monkeypatch.setattr(platform, 'PROC', tmp_path)
    monkeypatch.setattr(psutil, 'virtual_memory', lambda: SimpleNamespace(available=123))
    assert platform.available_memory_bytes() == 123
    (tmp_path / 'meminfo').write_text('MemTotal: 9 kB\nMemAvailable:  7 kB\n')
    assert platform.available_memory_bytes() == 7 * 1024


def test_files_are_read_and_written_at_an_offset_without_pread(tmp_path, monkeypatch):
    for name in ('pread', 'pwrite'):
        monkeypatch.delattr(platform.os, name)
    descriptor = platform.open_for_update(tmp_path / 'file')
    assert platform.write_at(descriptor, memoryview(b'\r\n12'), 3) == 4
    assert platform.write_at(descriptor, b'abc', 0) == 3
    assert platform.read_at(descriptor, 10, 2) == b'c\r\n12'
    platform.os.close(descriptor)


def test_a_lock_keeps_others_out_until_it_is_released(tmp_path):
    with platform.file_lock(tmp_path / 'lock', 0) as first:
        assert first
        with platform.file_lock(tmp_path / 'lock', 0) as second:
            assert not second
    with platform.file_lock(tmp_path / 'lock', 0) as again:
        assert again


def test_a_link_is_replaced_and_its_absence_no_error(tmp_path, monkeypatch):
    link = tmp_path / 'latest.log'
    for name in ('a.log', 'b.log'):
        (tmp_path / name).write_text(name)
        assert platform.point_link(link, name)
    assert link.read_text() == 'b.log'

    def refuse(*args, **kwargs):
        raise OSError('a required privilege is not held by the client')

    monkeypatch.setattr(platform.os, 'symlink', refuse)
    assert not platform.point_link(link, 'a.log')
    assert not link.exists()


def test_a_folder_that_cannot_be_opened_is_not_synced(tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError(13, 'Permission denied')  # what Windows says of every folder

    platform.sync_folder(tmp_path)
    monkeypatch.setattr(platform.os, 'open', refuse)
    platform.sync_folder(tmp_path)


def test_memory_without_a_file_is_known_by_its_name(monkeypatch):
    descriptor, path = platform.anonymous_file('mmopt-test')
    assert platform.is_anonymous_file(path, 'mmopt-test')
    assert not platform.is_anonymous_file(path, 'mmopt-other')
    platform.os.close(descriptor)
    assert not platform.is_anonymous_file(path, 'mmopt-test')
    monkeypatch.delattr(platform.os, 'memfd_create')
    assert platform.anonymous_file('mmopt-test') is None


def test_users_are_told_apart_without_numbers(monkeypatch):
    assert platform.user_tag() == str(platform.os.getuid())
    monkeypatch.delattr(platform.os, 'getuid')
    monkeypatch.setattr(platform.getpass, 'getuser', lambda: 'ann')
    assert platform.user_tag() == 'ann'


def test_stopping_signals_are_those_that_exist():
    assert {signal.SIGTERM, signal.SIGINT} <= set(platform.STOPPING_SIGNALS)
    assert (signal.SIGUSR1 in platform.STOPPING_SIGNALS) == hasattr(signal, 'SIGUSR1')
