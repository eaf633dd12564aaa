"""Text and tables as people have them: in any usual encoding, with commas, semicolons or tabs."""

import codecs
import csv
import re
from collections.abc import Sequence
from pathlib import Path

from mmopt.utils.errors import DataError, DataNotFoundError

__all__ = ['check_widths', 'read_head', 'read_rows', 'read_text', 'to_number']

_MARKS = {codecs.BOM_UTF8: 'utf-8-sig', codecs.BOM_UTF16_LE: 'utf-16', codecs.BOM_UTF16_BE: 'utf-16'}
_DELIMITERS = ',;\t'
_HEAD = 8  # rows that tell what a table is
_DECIMAL_COMMA = re.compile(r'[+-]?\d*,\d+(?:[eE][+-]?\d+)?')
_EMPTY = {'', 'na', 'n/a', 'none', 'null', '-'}


def read_text(path: str | Path) -> str:
    """Read a text file.

    A byte order mark tells UTF-8 or UTF-16. Without one it is UTF-8 if it can be, else Windows' Western European code
    page, whose letters Latin-1 shares; every such file can be read, names of body parts with accents among them.

    Returns:
        The text, with lines ended by a newline.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If it cannot be read, or is no text.
    """
    path = Path(path)
    if not path.is_file():
        raise DataNotFoundError(f'{path} is missing.')
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f'{path}: cannot be read: {error.strerror}.') from error
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), 'utf-8')
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        if encoding == 'utf-16':
            raise DataError(f'{path}: starts as UTF-16 and ends as something else. Save it again as UTF-8.') from None
        text = content.decode('cp1252', errors='replace')
    if '\0' in text:
        raise DataError(f'{path}: this is no text (or UTF-16 without its mark). Save it again as UTF-8.')
    return text.replace('\r\n', '\n').replace('\r', '\n')


def read_head(path: str | Path, num_bytes: int = 1 << 16) -> list[list[str]]:
    """Read the whole lines among the first bytes of a table as texts, to tell what it is.

    Returns:
        The cells, row by row; no row of an empty file.

    Raises:
        OSError: If it cannot be read.
    """
    with Path(path).open('rb') as file:
        content = file.read(num_bytes)
    text = content.decode(
        'utf-16' if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else 'utf-8-sig', 'replace'
    )
    lines = text.splitlines()
    lines = lines[:-1] if len(content) == num_bytes else lines
    delimiter = max(_DELIMITERS, key=lines[0].count) if lines else ','
    return [[cell.strip() for cell in row] for row in csv.reader(lines[:_HEAD], delimiter=delimiter)]


def read_rows(path: str | Path) -> list[list[str]]:
    """Read a table as texts, without empty lines at its end.

    The delimiter is the one of comma, semicolon and tab that the first line has most of. Where it is no comma, a comma
    within a number is the decimal one.

    Returns:
        The cells, row by row, without surrounding spaces.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If it cannot be read, or has no rows.
    """
    text = read_text(path)
    if not text.strip():
        raise DataError(f'{path}: the file is empty.')
    lines = text.rstrip().split('\n')
    delimiter = max(_DELIMITERS, key=lines[0].count)
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    except csv.Error as error:
        raise DataError(f'{path}: not a table: {error}.') from error
    if delimiter == ',':
        return rows
    return [[cell.replace(',', '.') if _DECIMAL_COMMA.fullmatch(cell) else cell for cell in row] for row in rows]


def check_widths(path: str | Path, rows: Sequence[Sequence[str]], width: int, first_line: int) -> None:
    """Refuse rows that have more or fewer cells than the header.

    Args:
        path: The file, for the message.
        rows: Rows below the header.
        width: Columns of the header.
        first_line: Line of the first of these rows.

    Raises:
        DataError: With the line.
    """
    for line, row in enumerate(rows, start=first_line):
        if len(row) != width:
            raise DataError(f'{path}:{line}: {len(row)} values, the header has {width} columns. Is the file cut off?')


def to_number(text: str) -> float:
    """Turn a cell into a number.

    Returns:
        The number; NaN for an empty cell, ``nan``, ``NA`` and ``None``.

    Raises:
        ValueError: If it is no number.
    """
    return float('nan') if text.lower() in _EMPTY else float(text)
