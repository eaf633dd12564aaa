"""Segments that a user wants predicted: a table, or labels of Label Studio."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmopt.datasets.video.layout import read_segments
from mmopt.utils.errors import DataError, DataNotFoundError

__all__ = ['find_segments']


def find_segments(given: Path, name: str, fps: float, classes: Sequence[str], first_frame: int) -> np.ndarray:
    """Read the segments of a recording.

    Args:
        given: A file; or a folder, of which the file is taken that is called after the recording
            (``person_01_day_high.json`` for ``person_01/day_high``).
        name: The recording.
        fps: Frames per second, for a table of seconds.
        classes: Names of the actions, for labels.
        first_frame: Number that labels give to the first frame.

    Returns:
        int64 (N, 2): start and stop (excluded), in frames.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If it is no such table, or holds no segment.
    """
    path = _in_folder(given, name) if given.is_dir() else given
    if not path.is_file():
        raise DataNotFoundError(f'{path}: no such file of segments.')
    if path.suffix.lower() == '.json':
        segments = read_segments(path, classes, first_frame)[:, :2]
    else:
        segments = _read_table(path, fps)
    if not len(segments):
        raise DataError(f'{path}: holds no segment.')
    return segments


def _in_folder(folder: Path, name: str) -> Path:
    stem = name.replace('/', '_')
    for candidate in (stem, f'person_{stem}'):
        for ending in ('.json', '.csv'):
            if (path := folder / f'{candidate}{ending}').is_file():
                return path
    raise DataNotFoundError(f'{folder}: no segments of {name} ({stem}.json or {stem}.csv).')


def _read_table(path: Path, fps: float) -> np.ndarray:
    try:
        with path.open(encoding='utf-8-sig', newline='') as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f'{path}: not a table in UTF-8: {error}.') from error
    names = rows[0].keys() if rows else ()
    for columns, factor in ((('start_frame', 'stop_frame'), 1.0), (('start_s', 'stop_s'), fps)):
        if not set(columns) <= set(names):
            continue
        try:
            spans = [[round(float(row[column]) * factor) for column in columns] for row in rows]
        except (TypeError, ValueError) as error:
            raise DataError(f'{path}: {columns[0]} and {columns[1]} must be numbers: {error}.') from error
        for line, (start, stop) in enumerate(spans, start=2):
            if not 0 <= start < stop:
                raise DataError(f'{path}:{line}: the segment from frame {start} to {stop} is none.')
        return np.array(spans, dtype=np.int64)
    raise DataError(
        f'{path}: needs the columns start_frame and stop_frame, or start_s and stop_s; found {list(names)}.'
    )
