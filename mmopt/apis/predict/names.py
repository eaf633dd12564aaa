"""Text lists of sources, and what the files written for sources are called."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmopt.utils.errors import UserError

__all__ = ['LISTS', 'read_list', 'unique_names']

LISTS = ('.txt', '.lst')
"""Endings of text lists."""


def read_list(path: Path) -> Iterator[str]:
    """Give the paths of a text list: from the folder of the list, or else from the working folder."""
    try:
        lines = path.read_text(encoding='utf-8-sig').splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f'{path}: a list is a text in UTF-8, a path per line; byte {error.start} is none.') from error
    for line in filter(None, map(str.strip, lines)):
        beside = path.parent / line
        # A file that is neither here nor there is reported when it is read, as a broken one is.
        yield str(beside if beside.exists() or not Path(line).exists() else Path(line))


def unique_names(names: Sequence[str]) -> list[str]:
    """Take the endings off; of equal names all but the first keep it (``a``, ``a_png``), or are numbered.

    Args:
        names: With endings; may have folders.

    Returns:
        Names that differ on file systems that do not tell capitals as well.
    """
    chosen, taken = [], set()
    for name in names:
        stem, ending = os.path.splitext(name)
        choice, number = stem, 1
        while choice.casefold() in taken:
            choice = f'{stem}_{ending[1:]}' if number == 1 and ending else f'{stem}_{number}'
            number += 1
        taken.add(choice.casefold())
        chosen.append(choice)
    return chosen
