"""Files for others, whose names carry a hash that downloads are checked by."""

import hashlib
import os
from collections.abc import Callable, Collection
from pathlib import Path

from mmopt.engine.checkpoint_io.read import load
from mmopt.engine.checkpoint_io.write import save

__all__ = ['publish', 'write_with_hash']

_DIGITS = 8


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
        with draft.open('rb') as file:
            digest = hashlib.file_digest(file, 'sha256').hexdigest()
        published = out.with_name(f'{out.stem}-{digest[:_DIGITS]}{out.suffix}')
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
