"""What Linux, macOS and Windows lack: the only place that knows, so that everything else runs on all three.

Linux alone has ``/proc``, memory without a file and memory shared through ``/dev/shm``; Windows has no ``fork``, no
``resource``, no ``SIGUSR1``, no reading and writing at an offset, opens no folder as a file, and gives links to few.
macOS has ``fork``, but what a forked child may call there is almost nothing (:func:`start_method`). Whatever is absent
is asked for by name (``hasattr``), not by the name of a system: a test takes the names away and runs everything.

Imports nothing heavy: the tools' ``--help`` needs it.
"""

import ctypes
import errno
import getpass
import multiprocessing
import os
import platform
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.context import BaseContext
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import IO

resource: ModuleType | None
try:
    import resource
except ImportError:  # Windows
    resource = None

__all__ = [
    'KILL_SIGNAL',
    'SHARED_MEMORY',
    'STOPPING_SIGNALS',
    'allowed_cores',
    'anonymous_file',
    'available_memory_bytes',
    'c_library',
    'file_lock',
    'file_locks',
    'forget_cached_pages',
    'has_gpu_driver',
    'is_anonymous_file',
    'is_glibc',
    'loaded_nvidia_gpus',
    'max_open_files',
    'open_for_update',
    'peak_resident_bytes',
    'point_link',
    'process_context',
    'read_ahead',
    'read_at',
    'read_kernel_file',
    'shared_memory_bytes',
    'start_method',
    'sync_folder',
    'user_tag',
    'was_killed',
    'write_at',
]

PROC = Path('/proc')
"""The kernel's tables; Linux alone has them."""

SHARED_MEMORY = Path('/dev/shm')
"""Where Linux keeps memory that processes share; other systems have no such folder and no limit of its own."""

STOPPING_SIGNALS = tuple(
    getattr(signal, name) for name in ('SIGTERM', 'SIGINT', 'SIGUSR1', 'SIGBREAK') if hasattr(signal, name)
)
"""What asks a process to stop: SIGUSR1 is missing on Windows, where Ctrl-Break (SIGBREAK) takes its place."""

KILL_SIGNAL = getattr(signal, 'SIGKILL', signal.SIGTERM)
"""What ends a process at once, whatever it does: on Windows every signal does."""

_position_lock = Lock()
_highest_resident = 0


# ---------------------------------------------------------------- processes
def start_method(wanted: str) -> tuple[str, str | None]:
    """Return how processes are started here, and why not as wanted.

    On macOS ``fork`` exists, but a forked child may not touch the frameworks that its parent has used (Accelerate
    under torch and NumPy, Metal, Objective-C's runtime): it hangs or is ended. CPython took ``spawn`` for its default
    there for that reason, and so does this.

    Args:
        wanted: ``'fork'``, ``'forkserver'`` or ``'spawn'``.

    Returns:
        The method, and one line if it is another than the wanted one, else None.
    """
    if wanted in ('fork', 'forkserver') and not hasattr(os, 'fork'):
        return 'spawn', f'mp_start_method={wanted!r}: this system cannot fork; workers are started by spawn.'
    if wanted == 'fork' and sys.platform == 'darwin':
        return 'spawn', (
            "mp_start_method='fork': a forked process may not use macOS' frameworks (Accelerate, Metal); workers are "
            'started by spawn.'
        )
    return wanted, None


def process_context(wanted: str) -> BaseContext:
    """Return multiprocessing's context for :func:`start_method`.

    Args:
        wanted: As there.

    Returns:
        The context.
    """
    return multiprocessing.get_context(start_method(wanted)[0])


def allowed_cores() -> int:
    """Return on how many cores the system lets this process run: its affinity mask, where there is one.

    Python 3.13 counts them itself and takes ``-X cpu_count`` into account.
    """
    if hasattr(os, 'process_cpu_count'):
        return os.process_cpu_count() or 1
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    import psutil

    process = psutil.Process()
    if hasattr(process, 'cpu_affinity'):  # Windows; macOS has no masks
        return len(process.cpu_affinity()) or 1
    return os.cpu_count() or 1


def was_killed(returncode: int | None) -> bool:
    """Tell whether a child ended by :data:`KILL_SIGNAL` or ``Popen.kill``; on Windows a 1 may be its own."""
    return returncode in ((-KILL_SIGNAL,) if os.name == 'posix' else (1, KILL_SIGNAL))


def user_tag() -> str:
    """Return what tells this user's files from others' in a folder for all: the user's number, or name."""
    return str(os.getuid()) if hasattr(os, 'getuid') else getpass.getuser()


# ---------------------------------------------------------------- drivers and libraries
def has_gpu_driver() -> bool:
    """Tell whether a driver for NVIDIA's or AMD's GPUs is loaded; False where no file of the kernel says so."""
    return bool(read_kernel_file('driver/nvidia/version')) or Path('/dev/kfd').exists()


def loaded_nvidia_gpus() -> list[str]:
    """Return a line per GPU that the driver names; asks no library, so starts no CUDA."""
    files = sorted(Path(PROC, 'driver/nvidia/gpus').glob('*/information'))
    lines = (line for file in files for line in read_kernel_file(str(file)).splitlines())
    return [line for line in lines if line.startswith('Model')]


def is_glibc() -> bool:
    """Tell whether glibc serves this process: False on macOS, Windows, and Linux with another library (musl)."""
    return sys.platform == 'linux' and platform.libc_ver()[0] == 'glibc'


def c_library() -> ctypes.CDLL:
    """Return glibc, to be called."""
    return ctypes.CDLL('libc.so.6')


# ---------------------------------------------------------------- memory
def peak_resident_bytes() -> int:
    """Return the peak of this process's resident memory.

    Where no system keeps it, it is the highest of what this function has found so far: the hooks ask at log lines.
    """
    if resource is not None:
        # Linux counts in KiB, macOS in bytes.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)
    import psutil

    global _highest_resident
    memory = psutil.Process().memory_info()
    _highest_resident = max(_highest_resident, getattr(memory, 'peak_wset', 0), memory.rss)  # Windows keeps a peak
    return _highest_resident


def available_memory_bytes() -> int:
    """Return the machine's memory that can be used without swapping, whatever container this is."""
    for line in read_kernel_file('meminfo').splitlines():
        if line.startswith('MemAvailable:'):
            return int(line.split()[1]) * 1024
    import psutil

    return psutil.virtual_memory().available


def shared_memory_bytes() -> tuple[int, int] | None:
    """Return free and total bytes of the folder through which workers hand over batches; None where there is none."""
    if not hasattr(os, 'statvfs'):
        return None
    try:
        state = os.statvfs(SHARED_MEMORY)
    except OSError:
        return None
    return state.f_bavail * state.f_frsize, state.f_blocks * state.f_frsize


def max_open_files() -> int | None:
    """Return how many files this process may have open; None where nobody limits it."""
    return None if resource is None else resource.getrlimit(resource.RLIMIT_NOFILE)[0]


# ---------------------------------------------------------------- files
def read_kernel_file(name: str) -> str:
    """Return a file of ``/proc``, e.g. ``'cpuinfo'``; empty where there is none."""
    try:
        return Path(PROC, name).read_text(encoding='utf-8', errors='replace')
    except OSError:
        return ''


@contextmanager
def file_lock(path: Path, timeout_s: float) -> Iterator[bool]:
    """Try to hold a file's lock; the system drops the lock of a process that dies.

    Args:
        path: The file; made if it is missing.
        timeout_s: How long to wait for whoever has it.

    Yields:
        bool: Whether it is held inside.
    """
    from filelock import FileLock, Timeout  # flock, Windows' locking, or a file of its own where there is neither

    lock = FileLock(path)
    try:
        lock.acquire(timeout=timeout_s, poll_interval=min(0.1, timeout_s))
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def sync_folder(folder: Path) -> None:
    """Bring a rename to the disk; systems and file systems that cannot (Windows, some network ones) do without."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def point_link(link: Path, target: str) -> bool:
    """Make ``link`` a symbolic link to a name in its own folder; replace what is there.

    Args:
        target: The name.

    Returns:
        False where no links can be made: file systems without them, Windows without the right to.
    """
    link.unlink(missing_ok=True)
    try:
        link.symlink_to(target)
    except (OSError, NotImplementedError):
        return False
    return True


def open_for_update(path: str | Path) -> int:
    """Open a binary file for reading and writing, made if it is missing; return its descriptor."""
    # Without the flag Windows would translate line ends.
    return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, 'O_BINARY', 0), 0o644)


def read_at(descriptor: int, length: int, offset: int) -> bytes:
    """Return what a file holds at an offset, up to ``length`` bytes."""
    if hasattr(os, 'pread'):
        return os.pread(descriptor, length, offset)
    with _position_lock:  # all threads share the position
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, length)


def write_at(descriptor: int, content: bytes | memoryview, offset: int) -> int:
    """Write at an offset and return how many bytes were written.

    Without ``pwrite`` the position moves: processes must not share an open file, each opens its own.
    """
    if hasattr(os, 'pwrite'):
        return os.pwrite(descriptor, content, offset)
    with _position_lock:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.write(descriptor, content)


def read_ahead(file: IO[bytes]) -> None:
    """Tell the system that a file will be read from its begin to its end; where it takes no advice, do nothing."""
    if hasattr(os, 'posix_fadvise'):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)


def forget_cached_pages(file: IO[bytes]) -> None:
    """Let the system drop what it keeps of a file in memory, so that the disk is read; where it can be told."""
    if hasattr(os, 'posix_fadvise'):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def anonymous_file(name: str) -> tuple[int, str] | None:
    """Make a file that is memory alone and gone with the last process that has it open.

    Args:
        name: Tells it from others in :func:`is_anonymous_file`.

    Returns:
        Its descriptor and a path by which other processes of this user open it; None outside Linux.
    """
    if not hasattr(os, 'memfd_create'):
        return None
    descriptor = os.memfd_create(name)
    return descriptor, str(PROC / str(os.getpid()) / 'fd' / str(descriptor))


def is_anonymous_file(path: str, name: str) -> bool:
    """Tell whether a path still names that memory, and not what a later process of the same number has open."""
    with suppress(OSError):
        return os.readlink(path) == f'/memfd:{name} (deleted)'
    return False


def file_locks() -> ModuleType | None:
    """Return the module ``fcntl``, whose locks end with their process; None where there is none (Windows)."""
    try:
        import fcntl
    except ImportError:
        return None
    return fcntl
