"""Annotation texts of the Caltech Behavior Annotator and of its successor Bento, with which MARS was trained."""

import re
from pathlib import Path

from mmopt.datasets.tad.prepare.intervals import Event, Intervals, tidy_streams
from mmopt.datasets.tad.prepare.text import read_text
from mmopt.utils.errors import DataError

__all__ = ['read_bento', 'read_caltech']

_STREAM = re.compile(r'S\d+:')
_CHANNEL = re.compile(r'(?P<name>.+?)-{5,}')
_INTERVAL = re.compile(r'(?P<start>-?\d+)\s+(?P<stop>-?\d+)\s+(?P<name>\S.*)')
_BOUT = re.compile(r'(?P<start>-?\d+(?:\.\d*)?)\s+(?P<stop>-?\d+(?:\.\d*)?)(?:\s+-?\d+(?:\.\d*)?)?')


def read_caltech(path: str | Path) -> Intervals:
    """Read the annotation text of the Caltech Behavior Annotator.

    Frames count from 1 there and the end is included; here they count from 0 and the stop is excluded. Streams
    (``S1:``, ``S2:``) are pooled. The list of behaviors at the top, each with its key, may be missing.

    Returns:
        The intervals.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If it is no annotation file, or a line is broken or names a behavior that is not in the list.
    """
    path = Path(path)
    known: dict[str, None] = {}
    streams: list[list[Event]] = []
    section = ''
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        stripped = text.strip()
        if not stripped or set(stripped) == {'-'}:
            continue
        if stripped.startswith('Configuration file'):
            section = 'configuration'
        elif _STREAM.match(stripped):
            section = 'events'
            streams.append([])
        elif section == 'configuration':
            # Name and key; a name may have spaces, so the tab between them counts first.
            known[stripped.rsplit('\t' if '\t' in stripped else None, 1)[0].strip()] = None
        elif section == 'events':
            streams[-1].append(_parse_interval(path, line, stripped, known))
    if not streams:
        raise DataError(f'{path}: no stream of intervals ("S1: start end type") in it. Is it a Caltech annotation?')
    return tidy_streams(streams, known)


def _parse_interval(path: Path, line: int, text: str, known: dict[str, None]) -> Event:
    match = _INTERVAL.fullmatch(text)
    if match is None:
        raise DataError(f'{path}:{line}: expected start, end and behavior, found {text!r}.')
    first, last, name = int(match['start']), int(match['stop']), match['name'].strip()
    if known and name not in known:
        raise DataError(f'{path}:{line}: unknown behavior {name!r}; configured: {sorted(known)}.')
    if first < 1:
        raise DataError(f'{path}:{line}: start {first} and end {last} make no interval; frames count from 1.')
    return first - 1, last, name


def read_bento(path: str | Path, fps: float) -> Intervals:
    """Read an annotation file of Bento (``.annot``): per channel and behavior, starts and stops.

    They are frames, from 1 and with the end included, or, where they have decimals, seconds. Channels are pooled.

    Args:
        fps: Frames per second of the tracks, for seconds.

    Returns:
        The intervals.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If it is no annotation file of Bento, or a line is broken.
    """
    path = Path(path)
    lines = read_text(path).splitlines()
    if not lines or not lines[0].strip().lower().startswith('bento annotation file'):
        raise DataError(f'{path}: the first line is not "Bento annotation file".')
    streams: list[list[Event]] = []
    behaviors: dict[str, None] = {}
    section, name = '', ''
    for line, text in enumerate(lines[1:], start=2):
        stripped = text.strip()
        if not stripped:
            section = '' if section == 'names' else section
        elif stripped.lower().startswith('list of annotations'):
            section = 'names'
        elif _CHANNEL.fullmatch(stripped):
            section = 'events'
            streams.append([])
        elif section == 'names':
            behaviors[stripped] = None
        elif section == 'events' and stripped.startswith('>'):
            name = stripped[1:].strip()
            behaviors[name] = None
        elif section == 'events' and not stripped.lower().startswith('start'):
            match = _BOUT.fullmatch(stripped)
            if match is None or not name:
                raise DataError(f'{path}:{line}: expected start, stop and duration, found {stripped!r}.')
            streams[-1].append((*_to_frames(match['start'], match['stop'], fps), name))
    if not streams:
        raise DataError(f'{path}: no channel ("Ch1----------") in it.')
    return tidy_streams(streams, behaviors)


def _to_frames(start: str, stop: str, fps: float) -> tuple[int, int]:
    if '.' in start or '.' in stop:
        return round(float(start) * fps), round(float(stop) * fps)
    return max(int(start) - 1, 0), int(stop)
