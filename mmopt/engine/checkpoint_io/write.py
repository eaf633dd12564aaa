"""Writing: a temporary file in the same folder, checksum, fsync of file and folder, rename.

The checksum is the zip archive's comment (``mmopt1 crc32 XXXXXXXX size N``), computed while torch writes, so that the
file needs no companion and stays an ordinary archive to every reader. torch itself checks no record when it loads: a
flipped bit goes unnoticed there.
"""

import errno
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.logging import print_log
from torch import Tensor

from mmopt.config.spelling import spelled
from mmopt.engine.checkpoint_io.background import deferred_writes
from mmopt.engine.checkpoint_io.plain import to_plain
from mmopt.utils.errors import UserError
from mmopt.utils.memory import GIB
from mmopt.utils.platform import sync_folder

__all__ = ['FOOTER', 'FOOTER_LENGTH', 'TEMPORARY', 'CheckpointWriteError', 'replace_file', 'save', 'save_to']

FOOTER = re.compile(rb'mmopt1 crc32 ([0-9a-f]{8}) size (\d{16})')
FOOTER_LENGTH = len(b'mmopt1 crc32 ') + 8 + len(b' size ') + 16
TEMPORARY = re.compile(r'\.(.+)\.\d+\.tmp')
"""Name of a file that is being written; the group is the final name."""

_REMEDIES = {
    errno.ENOSPC: 'Free some space, or keep fewer checkpoints ({keep})',
    errno.EDQUOT: 'Your quota is used up: delete something, or keep fewer checkpoints ({keep})',
    errno.EROFS: 'The file system is read-only: choose another --work-dir',
    errno.EACCES: 'No permission to write there: choose another --work-dir, or change the permissions',
    errno.EPERM: 'No permission to write there: choose another --work-dir, or change the permissions',
}
_LENIENT = ('meta', 'message_hub')


class CheckpointWriteError(UserError):
    """A checkpoint could not be written; what was there before is untouched."""


def save(path: Path, state: dict) -> None:
    """Write a checkpoint so that its name never stands for half a file.

    Args:
        path: The file; its folder is made if need be.
        state: What to save: anything that :func:`to_plain` knows. In ``meta`` and ``message_hub``, where other
            libraries put any object, the rest is left out with a warning.

    Raises:
        CheckpointWriteError: If the disk is full, the folder read-only, or the like.
        TypeError: If the state holds an object without a plain form.
    """
    path = Path(path)
    deferred = deferred_writes()
    if deferred is None:
        _write_plain(path, _plain_state(path, state, copy=False))
    else:
        deferred.append(partial(_write_plain, path, _plain_state(path, state, copy=True)))


def save_to(
    out_dir: str | Path, filename: str | None, state: dict, backend_args: Mapping[str, Any] | None = None
) -> None:
    """Write a checkpoint where MMEngine's ``save_checkpoint`` would.

    Args:
        out_dir: A folder, or an address that one of MMEngine's file backends knows, such as ``s3://...``.
        filename: The file in it; None: ``out_dir`` is a file of this machine.
        state: See :func:`save`.
        backend_args: Arguments of the backend; None: told from the address.
    """
    if filename is None:
        save(Path(out_dir), state)
        return
    args = dict(backend_args or {})
    if args.get('backend') == 'disk':  # the older word
        args['backend'] = 'local'
    backend: Any = get_file_backend(str(out_dir), backend_args=args or None)
    if isinstance(backend, LocalBackend):
        save(Path(out_dir, filename), state)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, filename)
        save(path, state)
        backend.put(path.read_bytes(), backend.join_path(str(out_dir), filename))


def _plain_state(path: Path, state: dict, *, copy: bool) -> dict:
    unknown: list[str] = []

    def note(place: str, value: Any) -> None:
        unknown.append(f'{place} ({type(value).__name__})')

    lenient = to_plain({key: state[key] for key in _LENIENT if key in state}, copy=copy, on_unknown=note)
    strict = to_plain({key: value for key, value in state.items() if key not in _LENIENT}, copy=copy)
    if unknown:
        print_log(f'{path.name}: left out what is no plain data: {", ".join(unknown)}.', 'current', 30)
    return {key: (lenient | strict)[key] for key in state if key in lenient or key in strict}


def _write_plain(path: Path, plain: dict) -> None:
    try:
        replace_file(path, lambda file: _write_archive(file, plain))
    except OSError as error:
        raise CheckpointWriteError(_explain(path, error, _num_bytes(plain))) from error


def _write_archive(file: BinaryIO, plain: dict) -> None:
    stream = _ChecksummedStream(file)
    writable: Any = stream  # torch asks for write() alone
    try:
        torch.save(plain, writable)
    except RuntimeError as error:
        # torch's writer turns a failed write into "unexpected pos 96010688 vs 96010576".
        raise stream.error or error from error
    footer = b'mmopt1 crc32 %08x size %016d' % (stream.crc, stream.size)
    file.seek(-2, os.SEEK_END)  # the length of the archive's comment, until now 0, ends the archive
    file.write(len(footer).to_bytes(2, 'little') + footer)


class _ChecksummedStream:
    """What torch writes into: passes on, sums up, remembers the error that torch hides."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.crc = 0
        self.size = 0
        self.error: OSError | None = None

    def write(self, chunk: bytes) -> int:
        try:
            written = self.file.write(chunk)
        except OSError as error:
            self.error = error
            raise
        self.crc = zlib.crc32(chunk, self.crc)
        self.size += written
        return written

    def flush(self) -> None:
        self.file.flush()


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, bring it to the disk and rename it to ``path``.

    Args:
        path: The final name.
        write: Fills the open file.

    Raises:
        OSError: If anything fails; ``path`` is then as it was and the temporary file gone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        with temporary.open('wb') as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):  # the first error is the one to tell
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _num_bytes(plain: Any) -> int:
    storages: dict[int, int] = {}

    def visit(value: Any) -> None:
        if isinstance(value, Tensor) and value.layout == torch.strided:
            storage = value.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(value, dict):
            for item in value.values():
                visit(item)
        elif isinstance(value, list | tuple):
            for item in value:
                visit(item)

    visit(plain)
    return sum(storages.values())


def _explain(path: Path, error: OSError, num_bytes: int) -> str:
    try:
        free = f'{shutil.disk_usage(path.parent).free / GIB:.3f} GiB are free'
    except OSError:
        free = 'the free space is unknown'
    remedy = _REMEDIES.get(error.errno or 0, 'Check the disk and the path')
    remedy = remedy.format(keep=spelled('default_hooks.checkpoint.max_keep_ckpts'))
    return (
        f'{path}: checkpoint not written: {error.strerror or error}. It needs {num_bytes / GIB:.3f} GiB, {free}. '
        f'{remedy}. Earlier checkpoints are untouched.'
    )
