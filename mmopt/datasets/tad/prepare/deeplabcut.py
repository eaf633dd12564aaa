"""Tracks of DeepLabCut and of SimBA: wide tables, one row per frame and one column per coordinate.

DeepLabCut writes header rows ``scorer``, ``individuals`` (several animals only), ``bodyparts`` and ``coords``, whose
names pandas leaves out on demand, and before the values a frame number, a picture's path or its three parts. SimBA
writes the last row alone, as ``nose_x, nose_y, nose_p``, or below two rows of filling.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from mmopt.datasets.tad.prepare.text import check_widths, read_rows, to_number
from mmopt.datasets.tad.prepare.tracks import (
    COORDINATES,
    Column,
    PoseTracks,
    fill_tracks,
    number_frames,
    parse_values,
)
from mmopt.utils.errors import DataError

__all__ = ['is_wide', 'read_deeplabcut']

_MAX_HEADER = 4
_FLAT = re.compile(rf'(?P<point>.+)_(?P<coordinate>{"|".join(COORDINATES)})', re.IGNORECASE)
# nose_1, nose_2 as SimBA numbers its animals; mouse1_nose, Animal_2_nose as users name theirs.
_ANIMAL_LAST = re.compile(r'(?P<part>.+?)_(?P<animal>\d+)')
_ANIMAL_FIRST = re.compile(
    r'(?P<animal>(?:animal|mouse|mice|rat|ind|individual|track|id)_?\d+)_(?P<part>.+)', re.IGNORECASE
)


def is_wide(rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether rows are a table that :func:`read_deeplabcut` reads."""
    return _find_coordinates(rows) is not None


def read_deeplabcut(path: str | Path, min_likelihood: float = 0.0) -> PoseTracks:
    """Read a CSV of DeepLabCut or SimBA, of one animal or of several.

    An empty x or y is a missing point, whatever its likelihood: DeepLabCut writes 1.0 there. Columns that are no
    coordinates (features and labels of SimBA) are left out.

    Args:
        min_likelihood: Points below it count as missing.

    Returns:
        The tracks.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If no header row names coordinates, or a row has another number of values or a word in the place of
            one.
    """
    path = Path(path)
    rows = read_rows(path)
    last = _find_coordinates(rows)
    if last is None:
        raise DataError(
            f'{path}: none of the first {_MAX_HEADER} rows names coordinates, as "coords, x, y, likelihood" of '
            f'DeepLabCut or "nose_x, nose_y, nose_p" of SimBA do; the first row is {rows[0][:6]}.'
        )
    header, body, first_line = rows[: last + 1], rows[last + 1 :], last + 2
    if body and _is_index_name(body):
        body, first_line = body[1:], first_line + 1
    skip = _count_index_cells(header[-1])
    columns, kept = _name_columns(path, [row[skip:] for row in header])
    check_widths(path, body, len(header[-1]), first_line)
    values = parse_values(path, [[row[skip + number] for number in kept] for row in body], first_line)
    # Of a picture's three parts the last is its name; of any other index the first is the frame.
    index = [row[skip - 1] if skip > 1 else row[0] if skip else '' for row in body]
    return fill_tracks(path, number_frames(path, index, first_line), columns, values, min_likelihood)


def _name_columns(path: Path, header: Sequence[Sequence[str]]) -> tuple[list[Column], list[int]]:
    """Read the header rows of the columns with values.

    Args:
        path: The file, for messages.
        header: Rows of equal length without the cells of the index; the last names the coordinates.

    Returns:
        What the kept columns hold, and their numbers.

    Raises:
        DataError: If no row names body parts.
    """
    if not any(name.lower() in COORDINATES for name in header[-1]):
        return _name_flat_columns(header[-1])
    if len(header) < 2:
        raise DataError(f'{path}: no row above {header[-1][:3]} names the body parts.')
    kept = [number for number, name in enumerate(header[-1]) if name.lower() in COORDINATES]
    animals = header[-3] if len(header) > 3 else ['individual1'] * len(header[-1])
    return [Column(animals[k], header[-2][k], COORDINATES[header[-1][k].lower()]) for k in kept], kept


def _name_flat_columns(names: Sequence[str]) -> tuple[list[Column], list[int]]:
    found = [(number, match) for number, name in enumerate(names) if (match := _FLAT.fullmatch(name))]
    coordinates = {(match['point'], COORDINATES[match['coordinate'].lower()]) for _, match in found}
    # SimBA's features and classifiers may end alike ("Probability_p"): a point has both x and y.
    found = [(n, match) for n, match in found if {(match['point'], c) for c in 'xy'} <= coordinates]
    animals = _divide_animals(list(dict.fromkeys(match['point'] for _, match in found)))
    columns = [Column(*animals[match['point']], COORDINATES[match['coordinate'].lower()]) for _, match in found]
    return columns, [number for number, _ in found]


def _divide_animals(points: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Tell animal and part of each point: by a number that all of several animals' parts carry, alike for each."""
    for pattern in (_ANIMAL_LAST, _ANIMAL_FIRST):
        matches = [pattern.fullmatch(point) for point in points]
        divided = [(match['animal'], match['part']) for match in matches if match]
        parts = {animal: [part for other, part in divided if other == animal] for animal, _ in divided}
        if len(divided) == len(points) and len(parts) > 1 and len({frozenset(names) for names in parts.values()}) == 1:
            return dict(zip(points, divided, strict=True))
    return {point: ('individual1', point) for point in points}


def _find_coordinates(rows: Sequence[Sequence[str]]) -> int | None:
    """Return the number of the header row that names the coordinates."""
    for number, row in enumerate(rows[:_MAX_HEADER]):
        names = {cell.lower() for cell in row}
        flat = {match['coordinate'].lower() for cell in row if (match := _FLAT.fullmatch(cell))}
        if {'x', 'y'} <= names or {'x', 'y'} <= flat:
            return number
    return None


def _is_index_name(body: Sequence[Sequence[str]]) -> bool:
    """Tell whether the first row is the line that pandas writes below the header for the index's name."""
    first = body[0]
    if any(first[1:]) or not first[0]:
        return False
    try:
        to_number(first[0])
    except ValueError:
        # A picture without any point looks alike; the picture below it does, too.
        return len(body) > 1 and not Path(first[0]).suffix
    return False


def _count_index_cells(names: Sequence[str]) -> int:
    """Return how many cells stand before the first coordinate."""
    return next(number for number, name in enumerate(names) if name.lower() in COORDINATES or _FLAT.fullmatch(name))
