"""Tracks of one session, and the way from a table of numbers to them.

Shape letters: T frames, M individuals, P body parts, R rows of a file, C its columns.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmopt.datasets.tad.prepare.text import to_number
from mmopt.datasets.tad.tables import MAX_FRAMES
from mmopt.utils.errors import DataError

__all__ = ['COORDINATES', 'Column', 'PoseTracks', 'fill_tracks', 'number_frames', 'parse_values']

COORDINATES = dict(x='x', y='y', likelihood='likelihood', p='likelihood', score='likelihood', prob='likelihood')
"""What programs call a coordinate -> what it is."""


@dataclass(frozen=True)
class PoseTracks:
    """Tracks of one session.

    Attributes:
        position_TMP2: float32, pixels, NaN where a point is missing.
        individuals: Names of the M animals.
        body_parts: Names of the P parts.
        notes: What was odd about the file, in sentences for the user.
    """

    position_TMP2: np.ndarray
    individuals: tuple[str, ...]
    body_parts: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Column:
    """What a column holds: a coordinate (``x``, ``y`` or ``likelihood``) of a part of an individual."""

    individual: str
    part: str
    coordinate: str


def parse_values(path: Path, rows: Sequence[Sequence[str]], first_line: int) -> np.ndarray:
    """Turn the cells of rows into numbers.

    Args:
        path: The file, for messages.
        rows: Their cells with numbers, of equal length.
        first_line: Line of the first of them.

    Returns:
        float64 (R, C), NaN where a cell is empty.

    Raises:
        DataError: If a word stands in the place of a number.
    """
    values = np.full((len(rows), len(rows[0]) if rows else 0), np.nan)
    for place, row in enumerate(rows):
        try:
            values[place] = [to_number(cell) for cell in row]
        except ValueError as error:
            raise DataError(f'{path}:{first_line + place}: {error}.') from error
    return values


def number_frames(path: Path, index: Sequence[str], first_line: int) -> np.ndarray:
    """Turn the first cell of each row into its frame.

    It is a number, ``12`` or ``12.0``, or the path of a picture, whose last number counts: ``img0012.png``. Where all
    cells are empty, rows are counted.

    Args:
        path: The file, for messages.
        index: The cells.
        first_line: Line of the first of them.

    Returns:
        int64 (R,), counting from 0.

    Raises:
        DataError: If a number is no whole one, negative or far beyond what is recorded.
    """
    if not any(index):
        return np.arange(len(index))
    frames = np.zeros(len(index), dtype=np.int64)
    for place, cell in enumerate(index):
        line = first_line + place
        try:
            number = to_number(cell)
        except ValueError:
            digits = re.findall(r'\d+', Path(cell.replace('\\', '/')).stem)
            if not digits:
                raise DataError(f'{path}:{line}: {cell!r} is neither a frame number nor a picture with one.') from None
            number = float(digits[-1])
        if not 0 <= number < MAX_FRAMES or number != int(number):
            raise DataError(
                f'{path}:{line}: {cell or "an empty cell"!r} is no frame number: they are whole, from 0 to '
                f'{MAX_FRAMES - 1}. Times in seconds have to be multiplied by the frames per second.'
            )
        frames[place] = int(number)
    return frames


def fill_tracks(
    path: Path,
    frames: np.ndarray,
    columns: Sequence[Column],
    values: np.ndarray,
    min_likelihood: float = 0.0,
    num_frames: int | None = None,
) -> PoseTracks:
    """Put a table of numbers into tracks.

    Args:
        path: The file, for messages.
        frames: Frame of each row (R,).
        columns: What each column holds; the order of names is kept.
        values: (R, C).
        min_likelihood: Points below it count as missing.
        num_frames: Frames of the recording; None: up to the last row's.

    Returns:
        The tracks. Frames that the file leaves out have no points, which a note says; a row that is there twice with
        the same values counts once.

    Raises:
        DataError: If there are no rows or no columns, a part lacks x or y or has one twice, or one frame has two
            different rows.
    """
    individuals, parts = (
        tuple(dict.fromkeys(getattr(column, name) for column in columns)) for name in ('individual', 'part')
    )
    have = Counter((column.individual, column.part, column.coordinate) for column in columns)
    if not have or not len(frames):
        raise DataError(f'{path}: no {"frames" if have else "columns of coordinates"} in it.')
    for column in columns:
        for coordinate in 'xy':
            if (count := have[column.individual, column.part, coordinate]) != 1:
                raise DataError(f'{path}: {column.part!r} has {count or "no"} column{"s" * (count > 1)} {coordinate}.')
    frames, values, notes = _without_twins(path, frames, values)
    length = int(frames.max()) + 1 if num_frames is None else num_frames
    absent = length - len(frames)
    if absent:
        where = np.setdiff1d(np.arange(length), frames)
        notes.append(f'{absent} of {length} frames are not in the file (the first is {where[0]}): they have no points.')
    shape = (length, len(individuals), len(parts))
    table = {name: np.full(shape, np.nan) for name in ('x', 'y', 'likelihood')}
    for number, column in enumerate(columns):
        place = (frames, individuals.index(column.individual), parts.index(column.part))
        table[column.coordinate][place] = values[:, number]
    position = np.stack((table['x'], table['y']), axis=-1).astype(np.float32)
    # A file without likelihoods has NaN there, which is not below anything.
    position[~np.isfinite(position).all(-1) | (table['likelihood'] < min_likelihood)] = np.nan
    return PoseTracks(position, individuals, parts, tuple(notes))


def _without_twins(path: Path, frames: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
    order = np.argsort(frames, kind='stable')
    frames, values = frames[order], values[order]
    twins = np.flatnonzero(np.diff(frames) == 0)
    if not len(twins):
        return frames, values, []
    differ = ~((values[twins] == values[twins + 1]) | (np.isnan(values[twins]) & np.isnan(values[twins + 1]))).all(1)
    if differ.any():
        raise DataError(
            f'{path}: frame {frames[twins[differ.argmax()]]} is there twice with different values. Is it the tracks of '
            'two videos in one file? Divide it.'
        )
    keep = np.setdiff1d(np.arange(len(frames)), twins + 1)
    note = f'{len(twins)} rows are there twice with the same values: each counts once.'
    return frames[keep], values[keep], [note]
