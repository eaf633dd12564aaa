"""Files for others, whose names carry a hash that downloads are checked by."""

import hashlib
import os
from collections.abc import Callable, Collection
from pathlib import Path

from mmopt.engine.checkpoint_io.read import load
from mmopt.engine.checkpoint_io.write import save
from mmopt.utils.errors import UserError

__all__ = ['check_sha256', 'publish', 'sha256_of', 'write_with_hash']

_DIGITS = 8


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal digits."""
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def check_sha256(path: str | Path, wanted: str | None) -> None:
    """Refuse another file than the one that was meant.

    Args:
        path: A file that is there.
        wanted: Its SHA-256; None lets every file pass.

    Raises:
        UserError: If it is another file, or an address.
    """
    if wanted is None:
        return
    if '://' in str(path):
        raise UserError(f'{path} is an address, of which no SHA-256 is checked: download it, and name the file.')
    found = sha256_of(Path(path))
    if found != wanted.lower():
        raise UserError(f'{path} is not the file that was meant: its SHA-256 is {found}, not {wanted}. Get it again.')


def write_with_hash(out: Path, write: Callable[[Path], None]) -> Path:
    """Write ``<out>-<first 8 digits of the file's SHA-256><suffix>``.

    That is the name which :func:`torch.hub.load_state_dict_from_url` checks.

    Args:
        out: The file without the digits.
        write: Writes a file of this content under the name that it is given.

    Returns:
        The file that was made.
    """
    draft = out.with_name(f'.{out.name}.{os.getpid()}.draft{out.suffix}')
    try:
        write(draft)
        published = out.with_name(f'{out.stem}-{sha256_of(draft)[:_DIGITS]}{out.suffix}')
        os.replace(draft, published)
    finally:
        if draft.is_file():
            draft.unlink()
    return published


def publish(path: Path, keys: Collection[str]) -> Path:
    """Write a checkpoint's parts beside it.

    Args:
        path: A checkpoint of this run.
        keys: The parts to keep: ``'meta'``, ``'state_dict'``, ...

    Returns:
        The file that was made.
    """
    parts = {key: value for key, value in load(path).items() if key in keys and value is not None}
    return write_with_hash(path, lambda draft: save(draft, parts))
