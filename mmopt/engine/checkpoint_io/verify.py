"""Checking a file's length and checksum without loading it."""

import zlib
from pathlib import Path

from mmopt.engine.checkpoint_io.write import FOOTER, FOOTER_LENGTH
from mmopt.utils.errors import UserError
from mmopt.utils.platform import read_ahead

__all__ = ['CorruptCheckpointError', 'verify']

_END_RECORD = b'PK\x05\x06'
_END_RECORD_LENGTH = 22
# A start looks for the newest file, reads its position and then loads it: one pass over the file is enough.
_seen: dict[tuple, bool] = {}


class CorruptCheckpointError(UserError):
    """A checkpoint file is cut off or damaged."""


def verify(path: Path) -> bool:
    """Check a checkpoint file's length and checksum without loading it.

    Returns:
        True if its checksum is right, False if it has none (written by another library) and looks complete.

    Raises:
        CorruptCheckpointError: If the file is cut off or damaged.
    """
    status = path.stat()
    key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if key not in _seen:
        _seen[key] = _check(path, status.st_size)
    return _seen[key]


def _check(path: Path, size: int) -> bool:
    remedy = 'Use an earlier checkpoint, or copy the file again.'
    with path.open('rb') as file:
        is_archive = file.read(2) == b'PK'
        file.seek(max(0, size - _END_RECORD_LENGTH - FOOTER_LENGTH))
        tail = file.read()
        if not size:
            raise CorruptCheckpointError(f'{path}: the file is empty. {remedy}')
        if not is_archive:
            if FOOTER.search(tail):
                raise CorruptCheckpointError(f'{path}: damaged: its first bytes are not those of an archive. {remedy}')
            return False
        start = tail.rfind(_END_RECORD)
        comment = tail[start + _END_RECORD_LENGTH :] if start >= 0 else b''
        declared = int.from_bytes(tail[start + 20 : start + 22], 'little') if start >= 0 else -1
        footer = FOOTER.fullmatch(comment)
        if declared == 0 and not comment:
            return False
        if footer is None or declared != len(comment):
            raise CorruptCheckpointError(f'{path}: cut off: {size} bytes, and the end is missing. {remedy}')
        body = size - FOOTER_LENGTH
        if int(footer[2]) != body:
            raise CorruptCheckpointError(f'{path}: damaged: {size} bytes where {int(footer[2])} were written. {remedy}')
        if _checksum(path, body) != int(footer[1], 16):
            raise CorruptCheckpointError(f'{path}: damaged: its checksum does not match its content. {remedy}')
    return True


def _checksum(path: Path, body: int) -> int:
    """Sum up the archive as it was before its comment: with a comment length of 0."""
    crc = 0
    remaining = body - 2
    buffer = memoryview(bytearray(1 << 20))
    with path.open('rb', buffering=0) as file:
        read_ahead(file)
        while remaining and (count := file.readinto(buffer[: min(len(buffer), remaining)])):
            crc = zlib.crc32(buffer[:count], crc)
            remaining -= count
    return zlib.crc32(b'\0\0', crc)
