"""Annotated intervals of a session, from whatever program wrote them."""

from pathlib import Path

from mmopt.datasets.tad.prepare.caltech import read_bento, read_caltech
from mmopt.datasets.tad.prepare.event_tables import is_boris, read_boris, read_frame_labels
from mmopt.datasets.tad.prepare.intervals import Intervals
from mmopt.datasets.tad.prepare.text import read_rows, read_text

__all__ = ['read_annotations']

_TABLES = ('.csv', '.tsv')


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
    if read_text(path).lstrip().lower().startswith('bento annotation file'):
        return read_bento(path, fps)
    if path.suffix.lower() not in _TABLES:
        return read_caltech(path)
    return read_boris(path, fps) if is_boris(read_rows(path)) else read_frame_labels(path)
