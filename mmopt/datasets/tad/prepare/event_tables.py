"""Annotations as tables: events of BORIS, and labels frame by frame as SimBA keeps them."""

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from mmopt.datasets.tad.prepare.intervals import Event, Intervals, tidy_streams
from mmopt.datasets.tad.prepare.text import check_widths, read_rows, to_number
from mmopt.utils.errors import DataError

__all__ = [
    'boris_fps',
    'is_boris',
    'is_interval_table',
    'read_boris',
    'read_frame_labels',
    'read_interval_table',
]

_LABEL_COLUMNS = ('label', 'labels', 'behavior', 'behaviour', 'action', 'annotation')
_FRAME_COLUMNS = ('', 'frame', 'frames', 'frame_idx', 'index', 'time', 'unnamed: 0')
_NOTHING = ('', 'nan', 'none', 'na')
_ON, _OFF = ('1', '1.0', 'true'), ('0', '0.0', 'false')
_STARTS = ('start', 'start_frame', 'begin', 'onset', 'start_time', 'from')
_STOPS = ('stop', 'stop_frame', 'end', 'end_frame', 'offset', 'end_time', 'to')


def is_boris(rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether rows are events of BORIS."""
    return _find_header(rows) is not None


def _find_header(rows: Sequence[Sequence[str]]) -> int | None:
    # "Tabular events" of older versions have some 15 rows about the recording first.
    for number, row in enumerate(rows[:60]):
        if 'Behavior' in row and ({'Start (s)', 'Stop (s)'} <= set(row) or 'Time' in row):
            return number
    return None


def boris_fps(rows: Sequence[Sequence[str]]) -> float | None:
    """Return the frames per second of the recording in a table of BORIS; None where no column says them."""
    head = _find_header(rows)
    column = next((number for number, name in enumerate(rows[head or 0]) if name.upper().startswith('FPS')), None)
    if head is None or column is None:
        return None
    for row in rows[head + 1 :]:
        try:
            fps = to_number(row[column]) if column < len(row) else math.nan
        except ValueError:
            continue
        if 0 < fps < math.inf:
            return fps
    return None


def read_boris(path: str | Path, fps: float) -> Intervals:
    """Read events of BORIS: "aggregated" (a start and a stop per row) or "tabular" (a row for each of them).

    Times are seconds. Point events have no length and are left out. Subjects are pooled.

    Args:
        fps: Frames per second of the tracks.

    Returns:
        The intervals.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If it is no such table, holds several observations, a time is no number, or a start has no stop.
    """
    path = Path(path)
    rows = read_rows(path)
    head = _find_header(rows)
    if head is None:
        raise DataError(f'{path}: no header row with Behavior and Start (s), Stop (s) or Time. Is it a BORIS export?')
    names = rows[head]
    records = [
        (line, dict(zip(names, row, strict=False)))
        for line, row in enumerate(rows[head + 1 :], start=head + 2)
        if any(row)
    ]
    observations = {record.get('Observation id', '') for _, record in records}
    if len(observations) > 1:
        raise DataError(f'{path}: {len(observations)} observations in one file: export each one by itself.')
    is_aggregated = 'Start (s)' in names
    streams, num_points = (_from_aggregated if is_aggregated else _from_tabular)(path, records, fps)
    intervals = tidy_streams(streams.values())
    notes = list(intervals.notes)
    if num_points:
        notes.append(f'{num_points} point events have no length: they are left out.')
    if len(streams) > 1:
        notes.append(f'The subjects {", ".join(map(repr, streams))} are pooled.')
    return Intervals(intervals.events, intervals.behaviors, tuple(notes))


Records = Sequence[tuple[int, dict[str, str]]]


def _seconds(path: Path, line: int, text: str) -> float:
    try:
        return to_number(text)
    except ValueError as error:
        raise DataError(f'{path}:{line}: {text!r} is no time in seconds.') from error


def _from_aggregated(path: Path, records: Records, fps: float) -> tuple[dict[str, list[Event]], int]:
    streams: dict[str, list[Event]] = defaultdict(list)
    num_points = 0
    for line, record in records:
        start, stop = (_seconds(path, line, record.get(name, '')) for name in ('Start (s)', 'Stop (s)'))
        if record.get('Behavior type', '').upper().startswith('POINT') or start == stop:
            num_points += 1
        elif math.isfinite(start) and math.isfinite(stop):
            streams[record.get('Subject', '')].append((round(start * fps), round(stop * fps), record['Behavior']))
        else:
            raise DataError(f'{path}:{line}: {record["Behavior"]!r} lacks its start or stop. Mend it in BORIS.')
    return streams, num_points


def _from_tabular(path: Path, records: Records, fps: float) -> tuple[dict[str, list[Event]], int]:
    streams: dict[str, list[Event]] = defaultdict(list)
    running: dict[tuple[str, str, str], float] = {}
    num_points = 0
    for line, record in records:
        status = (record.get('Status') or record.get('Behavior type') or '').upper()
        time = _seconds(path, line, record.get('Time', ''))
        key = record.get('Subject', ''), record['Behavior'], record.get('Modifiers', '')
        if status.startswith('POINT'):
            num_points += 1
        elif status.startswith('START') and key not in running:
            running[key] = time
        elif status.startswith('STOP') and key in running:
            streams[key[0]].append((round(running.pop(key) * fps), round(time * fps), key[1]))
        else:
            raise DataError(f'{path}:{line}: {key[1]!r} has status {status!r} where a start or its stop is due.')
    if running:
        (_, behavior, _), time = next(iter(running.items()))
        raise DataError(
            f'{path}: {behavior!r} starts at {time:g} s and never stops. Mend it in BORIS ("unpaired events").'
        )
    return streams, num_points


def read_frame_labels(path: str | Path) -> Intervals:
    """Read labels frame by frame: one row per frame.

    Either one column has the name of the behavior (``label``, ``behavior``, ``action``; empty or ``none`` for nothing),
    or each behavior has a column of 0 and 1, as SimBA's ``targets_inserted`` files have at their end, behind
    coordinates and features.

    Returns:
        The intervals.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If there are no such columns, or a row has another number of values.
    """
    path = Path(path)
    names, *body = read_rows(path)
    check_widths(path, body, len(names), 2)
    _check_one_row_per_frame(path, names, body)
    for number, name in enumerate(names):
        if name.lower() in _LABEL_COLUMNS:
            labels = [row[number] for row in body]
            return tidy_streams([[event for event in _runs(labels) if event[2].lower() not in _NOTHING]])
    chosen = _binary_columns(names, body)
    if not chosen:
        raise DataError(
            f'{path}: no column label, behavior or action with names, and no columns of 0 and 1 at its end; the '
            f'columns are {names[:6]}.'
        )
    streams = []
    for number in chosen:
        active = [row[number].lower() in _ON for row in body]
        streams.append([(start, stop, names[number]) for start, stop, is_on in _runs(active) if is_on])
    return tidy_streams(streams, [names[number] for number in chosen])


def is_interval_table(rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether rows are intervals as Kaggle's MABe has them: ``action, start_frame, stop_frame``."""
    names = {name.lower() for name in rows[0]}
    return {'start_frame', 'stop_frame'} <= names and bool(names & set(_LABEL_COLUMNS))


def read_interval_table(path: str | Path) -> Intervals:
    """Read a table of intervals in frames from 0, ``start_frame`` and ``stop_frame`` (excluded), with their behavior.

    Returns:
        The intervals; agents and targets, if there are any, are pooled.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If a frame is no whole number, or a row has another number of values.
    """
    path = Path(path)
    header, *body = read_rows(path)
    check_widths(path, body, len(header), 2)
    names = [name.lower() for name in header]
    label = next(names.index(name) for name in _LABEL_COLUMNS if name in names)
    events = []
    for line, row in enumerate(body, start=2):
        try:
            start, stop = (to_number(row[names.index(name)]) for name in ('start_frame', 'stop_frame'))
            if start != int(start) or stop != int(stop) or start < 0:
                raise ValueError(f'{start:g} and {stop:g} are no frames')
        except (ValueError, OverflowError) as error:
            raise DataError(f'{path}:{line}: start_frame and stop_frame: {error}.') from error
        events.append((int(start), int(stop), row[label]))
    return tidy_streams([events])


def _check_one_row_per_frame(path: Path, names: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    """Refuse tables of intervals, and rows that leave frames out: both would be read as other frames."""
    lower = [name.lower() for name in names]
    starts, stops = ([name for name in lower if name in known] for known in (_STARTS, _STOPS))
    if starts and stops:
        raise DataError(
            f'{path}: has the columns {starts[0]} and {stops[0]}, so its rows are intervals, of which nobody knows '
            'whether they are frames or seconds and whether the end is included. Name them start_frame and stop_frame: '
            'frames from 0, the end excluded.'
        )
    for column in (number for number, name in enumerate(lower) if name in ('frame', 'frames', 'frame_idx')):
        try:
            frames = [to_number(row[column]) for row in body]
        except ValueError:
            return
        for line, (one, after) in enumerate(itertools.pairwise(frames), start=3):
            if after - one != 1:
                raise DataError(
                    f'{path}:{line}: frame {after:g} follows frame {one:g}: labels need one row for every frame.'
                )


def _binary_columns(names: Sequence[str], body: Sequence[Sequence[str]]) -> list[int]:
    """Return the columns of 0 and 1 at the end; features before them may be 0 or 1 by chance."""
    chosen: list[int] = []
    for number in reversed(range(len(names))):
        name = names[number].lower()
        if name.startswith('probability_'):
            continue
        if name in _FRAME_COLUMNS or any(row[number].lower() not in (*_ON, *_OFF) for row in body):
            break
        chosen.append(number)
    return chosen[::-1]


def _runs(values: Sequence) -> list[tuple]:
    """Return start, stop and value of each run of equal values."""
    runs, start = [], 0
    for value, group in itertools.groupby(values):
        length = sum(1 for _ in group)
        runs.append((start, start + length, value))
        start += length
    return runs
