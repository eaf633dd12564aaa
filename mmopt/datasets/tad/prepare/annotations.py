"""Annotated intervals of a session, from whatever program wrote them."""

import re
from pathlib import Path

from mmopt.datasets.tad.prepare.caltech import read_bento, read_caltech
from mmopt.datasets.tad.prepare.event_tables import (
    boris_fps,
    is_boris,
    is_interval_table,
    read_boris,
    read_frame_labels,
    read_interval_table,
)
from mmopt.datasets.tad.prepare.intervals import Intervals
from mmopt.datasets.tad.prepare.text import read_rows, read_text

__all__ = ['declared_fps', 'read_annotations', 'times_are_seconds']

_TABLES = ('.csv', '.tsv')
_FRAME_RATE = re.compile(r'^\s*annotation framerate\s*:\s*([\d.]+)', re.IGNORECASE | re.MULTILINE)


def declared_fps(path: str | Path) -> float | None:
    """Return the frames per second that an annotation of Bento or BORIS names; None where it names none."""
    path = Path(path)
    text = read_text(path)
    if _is_bento(text):
        match = _FRAME_RATE.search(text)
        return float(match[1]) if match and float(match[1]) > 0 else None
    if path.suffix.lower() in _TABLES and is_boris(rows := read_rows(path)):
        return boris_fps(rows)
    return None


def times_are_seconds(path: str | Path) -> bool:
    """Tell whether intervals are noted in seconds, so that nothing can be read without the frames per second."""
    path = Path(path)
    return _is_bento(read_text(path)) or (path.suffix.lower() in _TABLES and is_boris(read_rows(path)))


def _is_bento(text: str) -> bool:
    return text.lstrip().lower().startswith('bento annotation file')


def read_annotations(path: str | Path, fps: float) -> Intervals:
    """Read annotations of the Caltech Behavior Annotator, Bento, BORIS or SimBA, or a table of labels frame by frame.

    Args:
        fps: Frames per second of the tracks, for programs that note seconds.

    Returns:
        The intervals.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If it is none of these, or broken.
    """
    path = Path(path)
    if _is_bento(read_text(path)):
        return read_bento(path, fps)
    if path.suffix.lower() not in _TABLES:
        return read_caltech(path)
    rows = read_rows(path)
    if is_boris(rows):
        return read_boris(path, fps)
    return read_interval_table(path) if is_interval_table(rows) else read_frame_labels(path)
