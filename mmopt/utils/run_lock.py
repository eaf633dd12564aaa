"""A folder that one process at a time may write to.

The lock is the system's (``lockf``), which ends with its process however that dies, and which forked data workers do
not inherit, so that a killed run can be started again at once. Where a system or a network disk has none, the file
itself says who holds it: its process is looked for.

Imports nothing heavy: it is held before torch is there.
"""

import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mmopt.utils.platform import file_locks

fcntl = file_locks()

__all__ = ['LOCK_NAME', 'holder_of', 'hold_folder']

LOCK_NAME = '.running'
_BUSY = (errno.EACCES, errno.EAGAIN)
_HELD: set[Path] = set()


@contextmanager
def hold_folder(folder: Path) -> Iterator[dict[str, Any] | None]:
    """Hold a folder while inside.

    Args:
        folder: An existing folder.

    Yields:
        dict[str, Any] | None: None if it is held now; else who has it: ``host``, ``pid``, ``since``.
    """
    path = Path(folder).resolve() / LOCK_NAME
    if path in _HELD:  # the system's lock is the process's, which would be granted it twice
        yield _me()
        return
    descriptor, holder = _acquire(path)
    if descriptor is None:
        yield holder
        return
    _HELD.add(path)
    try:
        yield None
    finally:
        _HELD.discard(path)
        with suppress(OSError):
            path.unlink(missing_ok=True)
        os.close(descriptor)


def holder_of(folder: Path) -> dict[str, Any] | None:
    """Return who holds a folder, without taking it; None if nobody does."""
    path = Path(folder).resolve() / LOCK_NAME
    if not path.is_file():
        return None
    with hold_folder(folder) as holder:
        return holder


def _me() -> dict[str, Any]:
    return dict(host=socket.gethostname(), pid=os.getpid(), since=time.strftime('%Y-%m-%d %H:%M:%S'))


def _acquire(path: Path) -> tuple[int | None, dict[str, Any]]:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        busy = _try_lock(descriptor, path)
        if busy is not None:
            os.close(descriptor)
            return None, busy
        try:
            same = os.fstat(descriptor).st_ino == path.stat().st_ino
        except FileNotFoundError:  # whoever held it has just left and taken the file along
            same = False
        if same:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps(_me()).encode())
            return descriptor, {}
        os.close(descriptor)


def _try_lock(descriptor: int, path: Path) -> dict[str, Any] | None:
    """Take the lock; return who has it if that is somebody else."""
    written = _read(path)
    if fcntl is not None:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _BUSY:
                return written
            # A network disk without locks: what is written has to do.
        else:
            return None
    return written if written and _may_live(written) else None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _may_live(holder: dict[str, Any]) -> bool:
    """Tell whether a process may still be there; of other machines that is not known."""
    if holder.get('host') != socket.gethostname():
        return True
    pid = holder.get('pid')
    if not isinstance(pid, int) or pid == os.getpid():
        return False
    if os.name == 'nt':
        return _lives_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _lives_on_windows(pid: int) -> bool:
    import ctypes

    kernel: Any = ctypes.windll.kernel32  # type: ignore[attr-defined]  # of Windows alone
    handle = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
    if not handle:
        return False
    code = ctypes.c_ulong()
    kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return code.value == 259  # STILL_ACTIVE
