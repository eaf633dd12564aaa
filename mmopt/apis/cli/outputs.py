"""Places that a tool will write to, checked before it computes for hours."""

import os
from pathlib import Path

from mmopt.utils.errors import UserError

__all__ = ['check_file', 'check_folder']


def check_file(path: str | Path, flag: str) -> None:
    """Refuse a file that cannot be written. Makes nothing.

    Args:
        flag: What named it, e.g. ``'--out'``.

    Raises:
        UserError: If it is a folder, or it or its folder may not be written.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f'{flag} {path} is a folder: name a file in it, e.g. {path / "out"}{path.suffix}.')
    if path.exists() and not os.access(path, os.W_OK):
        raise UserError(f'{flag} {path} cannot be written: change its permissions or name another file.')
    check_folder(path.parent, flag)


def check_folder(folder: str | Path, flag: str) -> None:
    """Refuse a folder that can neither be made nor written. Makes nothing.

    Args:
        flag: What named it, e.g. ``'--work-dir'``.

    Raises:
        UserError: If it, or what it would be made in, is a file or may not be written.
    """
    folder = there = Path(folder).absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise UserError(f'{flag} {folder} cannot be made: {there} is a file; name another folder.')
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f'{flag} {folder} cannot be written: {there} is read-only for you; name another folder.')
