"""Short, aligned console text; color on a terminal only."""

import difflib
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

__all__ = ['columns', 'nearest', 'number', 'paint', 'rows', 'seconds']

_CODES = dict(bold='1', dim='2', red='31', green='32', yellow='33', cyan='36')


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """Color ``text`` if ``stream`` is a terminal and the user did not set ``NO_COLOR``.

    Args:
        style: ``bold``, ``dim``, ``red``, ``green``, ``yellow`` or ``cyan``.
        stream: Where the text goes; standard output unless given.

    Returns:
        The text, in escape codes or as it was.
    """
    stream = stream or sys.stdout
    if 'NO_COLOR' in os.environ or not stream.isatty():
        return text
    return f'\033[{_CODES[style]}m{text}\033[0m'


def rows(pairs: Iterable[tuple[str, str]], indent: int = 2) -> str:
    """Set labels and values in two columns; the further lines of a value stand below its first."""
    pairs = list(pairs)
    width = max((len(label) for label, _ in pairs), default=0)
    margin = ' ' * indent
    lines = []
    for label, value in pairs:
        first, *others = value.splitlines() or ['']
        # The padding lies outside the color codes, so it is the same with and without them.
        lines.append(f'{margin}{paint(label, "dim")}{" " * (width - len(label))}  {first}'.rstrip())
        lines += [f'{margin}{" " * width}  {other}' for other in others]
    return '\n'.join(lines)


def columns(cells: Sequence[str], width: int = 96, gap: int = 3, indent: int = 2) -> str:
    """Set equal cells in as many columns as ``width`` holds, read from the top down.

    Args:
        cells: Texts.
        width: Characters of a line.
        gap: Spaces between two columns.
        indent: Spaces before the first.

    Returns:
        The lines.
    """
    if not cells:
        return ''
    cell = max(map(len, cells))
    num_columns = max(1, min(len(cells), (width - indent + gap) // (cell + gap)))
    num_lines = -(-len(cells) // num_columns)
    lines = (cells[line::num_lines] for line in range(num_lines))
    return '\n'.join((' ' * indent + (' ' * gap).join(text.ljust(cell) for text in line)).rstrip() for line in lines)


def number(value: float, digits: int = 4) -> str:
    """Write a number as people do: whole and large ones whole, others with ``digits`` significant digits."""
    if isinstance(value, int) or (abs(value) < 1e15 and value == int(value)):
        return f'{int(value):,}'
    if 10 ** (digits if digits < 4 else digits - 1) <= abs(value) < 1e15:  # beside 12,345 stands 7,594
        return f'{value:,.0f}'
    return f'{value:.{digits}g}'


def seconds(value: float) -> str:
    """Write a duration: ``0.412 s``, ``4 min 05 s``, ``2 h 07 min``, ``3 d 04 h``."""
    if value < 60:
        return f'{value:.3g} s'
    whole = round(value)
    if whole < 3600:
        return f'{whole // 60} min {whole % 60:02d} s'
    if whole < 86400:
        return f'{whole // 3600} h {whole % 3600 // 60:02d} min'
    return f'{whole // 86400} d {whole % 86400 // 3600:02d} h'


def nearest(name: str, known: Iterable[str], count: int = 3, cutoff: float = 0.6) -> list[str]:
    """Return up to ``count`` known names that look like ``name``, the most alike first."""
    known = sorted(set(known))
    folded = {text.lower(): text for text in known}
    return [folded[match] for match in difflib.get_close_matches(name.lower(), folded, n=count, cutoff=cutoff)]
