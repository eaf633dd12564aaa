"""A system that has none of what Linux has beyond Windows.

Python itself imports this in every process that has the folder in PYTHONPATH, before anything else, so that spawned
workers live in it as well.

What a real Windows differs in beyond this (paths, locked files, line ends) is not shown.
"""

import builtins
import importlib.abc
import io
import multiprocessing
import os
import platform
import shutil
import signal
import sys

import psutil  # noqa: F401  its build for Linux needs what is taken away below

_MODULES = ('resource', 'fcntl', 'pwd', 'grp', 'termios', 'tty', 'pty', 'syslog', 'readline')
# uname, getuid and SIGCHLD stay: other libraries' builds for Linux need them.
_OF_OS = (
    *('fork', 'forkpty', 'getpgid', 'getpgrp', 'setsid', 'killpg', 'nice', 'getloadavg', 'sched_getaffinity'),
    *('sched_setaffinity', 'sched_yield', 'process_cpu_count', 'statvfs', 'fstatvfs', 'pread', 'pwrite', 'preadv'),
    *('pwritev', 'memfd_create', 'posix_fadvise', 'posix_fallocate', 'mkfifo', 'chown', 'lchown', 'fchmod', 'sync'),
)
_OF_SIGNAL = (
    *('SIGUSR1', 'SIGUSR2', 'SIGKILL', 'SIGHUP', 'SIGQUIT', 'SIGPIPE', 'SIGALRM', 'SIGCONT', 'SIGSTOP', 'SIGTSTP'),
    'alarm',
)


class _Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in _MODULES:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)


sys.meta_path.insert(0, _Absent())
for _name in _MODULES:
    sys.modules.pop(_name, None)
for _module, _names in ((os, _OF_OS), (signal, _OF_SIGNAL)):
    for _name in _names:
        if hasattr(_module, _name):
            delattr(_module, _name)

_open = os.open


def _open_no_folder(path, flags, *args, **kwargs):
    if not isinstance(path, int) and os.path.isdir(path):
        raise PermissionError(13, 'Permission denied', str(path))
    return _open(path, flags, *args, **kwargs)


def _no_links(*args, **kwargs):
    raise OSError(1314, 'A required privilege is not held by the client')


_system = platform.system


def _system_for_mmengine():
    """MMEngine asks for the name before it imports ``resource``; all others get the truth that they were built for."""
    caller = sys._getframe(1).f_globals.get('__name__', '')
    return 'Windows' if caller.startswith(('mmengine.runner', 'mmengine.utils.dl_utils')) else _system()


def _without_kernel_files(plain_open):
    """Other libraries read the kernel's tables, as they were built for Linux; mmopt finds none."""

    def open_file(file, *args, **kwargs):
        if str(file).startswith(('/proc/', '/sys/', '/dev/')):
            frame = sys._getframe(1)
            while frame.f_globals.get('__name__') in ('pathlib', 'pathlib._local', 'io'):
                frame = frame.f_back
            if frame.f_globals.get('__name__', '').startswith('mmopt'):
                raise FileNotFoundError(2, 'No such file or directory', str(file))
        return plain_open(file, *args, **kwargs)

    return open_file


builtins.open = io.open = _without_kernel_files(open)
os.open = _open_no_folder
shutil._use_fd_functions = False  # rmtree opens folders where it can
os.symlink = _no_links
platform.system = _system_for_mmengine
# What Windows has for its default; MMEngine sets none there.
multiprocessing.set_start_method('spawn')
