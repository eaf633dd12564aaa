"""Raw files of a session: tracks of DeepLabCut, intervals of the Caltech Behavior Annotator.

Shape letters: T frames, M individuals, P body parts.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmopt.utils.errors import DataError, DataNotFoundError

__all__ = ['PoseTracks', 'read_caltech', 'read_deeplabcut']


@dataclass(frozen=True)
class PoseTracks:
    """Tracks of one session.

    Attributes:
        position_TMP2: float32, pixels, NaN where a point is missing.
        individuals: Names of the M animals.
        body_parts: Names of the P parts.
    """

    position_TMP2: np.ndarray
    individuals: tuple[str, ...]
    body_parts: tuple[str, ...]


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise DataNotFoundError(f'{path} is missing.')
    return path.read_text(encoding='utf-8').splitlines()


def read_deeplabcut(path: str | Path, min_likelihood: float = 0.0) -> PoseTracks:
    """Read a CSV of DeepLabCut, of one animal or of several.

    Its header rows are ``scorer``, ``individuals`` (several animals only), ``bodyparts`` and ``coords``; then one row
    per frame: number, and x, y, likelihood of each point. An empty x or y is a missing point, whatever its likelihood:
    DeepLabCut writes 1.0 there.

    Args:
        min_likelihood: Points below it count as missing.

    Returns:
        The tracks.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If a header row is missing, or a row has another number of values or a word in the place of one.
    """
    path = Path(path)
    rows = list(csv.reader(_lines(path)))
    header: dict[str, list[str]] = {}
    while len(header) < len(rows) and rows[len(header)] and not rows[len(header)][0].isdigit():
        header[rows[len(header)][0]] = rows[len(header)][1:]
    missing = [name for name in ('bodyparts', 'coords') if name not in header]
    if missing:
        raise DataError(f'{path}: no header row {" and ".join(missing)}; found {list(header)}. Is it a DeepLabCut CSV?')
    num_columns = len(header['coords'])
    animals = header.get('individuals', ['individual1'] * num_columns)
    columns = list(zip(animals, header['bodyparts'], header['coords'], strict=True))
    individuals, parts = (tuple(dict.fromkeys(names)) for names in (animals, header['bodyparts']))
    values = np.full((len(rows) - len(header), num_columns), np.nan)
    frames = np.zeros(len(values), dtype=np.int64)
    for place, (line, row) in enumerate(enumerate(rows[len(header) :], start=len(header) + 1)):
        if len(row) != num_columns + 1:
            raise DataError(f'{path}:{line}: {len(row)} values, the header has {num_columns + 1} columns.')
        try:
            frames[place] = int(row[0])
            values[place] = [float(text) if text else np.nan for text in row[1:]]
        except ValueError as error:
            raise DataError(f'{path}:{line}: {error}.') from error
    shape = (int(frames.max(initial=-1)) + 1, len(individuals), len(parts))
    table = {name: np.full(shape, np.nan) for name in ('x', 'y', 'likelihood')}
    for column, (animal, part, coordinate) in enumerate(columns):
        if coordinate not in table:
            raise DataError(f'{path}: coords has {coordinate!r}; known: x, y, likelihood.')
        table[coordinate][frames, individuals.index(animal), parts.index(part)] = values[:, column]
    position = np.stack((table['x'], table['y']), axis=-1).astype(np.float32)
    # A file without likelihoods has NaN there, which is not below anything.
    position[~np.isfinite(position).all(-1) | (table['likelihood'] < min_likelihood)] = np.nan
    return PoseTracks(position, individuals, parts)


def read_caltech(path: str | Path) -> list[tuple[int, int, str]]:
    """Read the annotation text of the Caltech Behavior Annotator.

    Frames count from 1 there and the end is included; here they count from 0 and the stop is excluded. Streams
    (``S1:``, ``S2:``) are pooled.

    Returns:
        Start, stop and behavior of each interval, by start.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If it is no annotation file, or a line is broken or names a behavior that is not configured.
    """
    path = Path(path)
    known: set[str] = set()
    events, section = [], ''
    for line, text in enumerate(_lines(path), start=1):
        words = text.split()
        if not words or set(text.strip()) == {'-'}:
            continue
        if text.startswith('Configuration file'):
            section = 'configuration'
        elif words[0].startswith('S') and words[0].endswith(':'):
            section = 'events'
        elif section == 'configuration':
            known.add(words[0])
        elif section == 'events':
            if len(words) != 3 or not (words[0].isdigit() and words[1].isdigit()):
                raise DataError(f'{path}:{line}: expected start, end and behavior, found {text.strip()!r}.')
            first, last, name = int(words[0]), int(words[1]), words[2]
            if name not in known:
                raise DataError(f'{path}:{line}: unknown behavior {name!r}; configured: {sorted(known)}.')
            if not 1 <= first <= last:
                raise DataError(f'{path}:{line}: start {first} and end {last} make no interval; frames count from 1.')
            events.append((first - 1, last, name))
    if not section:
        raise DataError(f'{path}: neither "Configuration file:" nor "S1:" found. Is it a Caltech annotation?')
    return sorted(events)
