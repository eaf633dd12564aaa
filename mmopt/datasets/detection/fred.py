"""FRED's raw files: labels, frame names, and which label belongs to which frame.

Magrini et al., "FRED: The Florence RGB-Event Drone Dataset", https://arxiv.org/abs/2506.05163. A sequence is a folder:
``PADDED_RGB/Video_<s>_HH_MM_SS.us.jpg`` (padded so that pixels agree with the event camera's; ``RGB`` as recorded),
``Event/Frames/Video_<s>_frame_<us>.png`` and label files with lines ``time_s: x1, y1, x2, y2[, track]``. A frame's time
is its own less the first frame's of its folder.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmopt.utils.errors import DataError, DataNotFoundError

__all__ = ['FOLDERS', 'PAIR_S', 'TOLERANCE_S', 'Label', 'frame_times', 'match_labels', 'nearest', 'read_labels']

FOLDERS = dict(rgb='PADDED_RGB', event='Event/Frames')
TOLERANCE_S = 0.05
"""A label belongs to a frame that is at most so far away."""
PAIR_S = 1 / 60
"""An RGB and an event frame are a pair if they are at most half a frame apart: both cameras run at 30 per second."""

_LINE = re.compile(r'^\s*([-+.\deE]+)\s*:\s*(.+?)\s*$')
_RGB_NAME = re.compile(r'_(\d{1,2})_(\d{2})_(\d{2})\.(\d+)\.(?:jpg|jpeg|png)$', re.IGNORECASE)
_EVENT_NAME = re.compile(r'_frame_(\d+)\.(?:jpg|jpeg|png)$', re.IGNORECASE)
_DAY_S = 86400.0


@dataclass(frozen=True)
class Label:
    """One box at one time.

    Attributes:
        time_s: Seconds since the first frame.
        box: x1, y1, x2, y2 in pixels; may reach out of the image.
        track: Number of the drone, -1 where the file gives none.
    """

    time_s: float
    box: tuple[float, float, float, float]
    track: int = -1


def read_labels(path: Path) -> list[Label]:
    """Read a label file.

    Args:
        path: ``coordinates.txt`` or ``interpolated_coordinates.txt``.

    Returns:
        The labels, by time.

    Raises:
        DataNotFoundError: If the file is missing.
        DataError: If a line is not of the form above.
    """
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except FileNotFoundError as error:
        raise DataNotFoundError(f'{path} does not exist: a sequence needs its label file.') from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{path}: cannot be read: {error}.') from error
    labels = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            match = _LINE.match(line)
            if match is None:
                raise ValueError
            time_text, values_text = match.groups()
            values = [float(value) for value in values_text.split(',')]
            if len(values) not in (4, 5) or not np.isfinite(values).all():
                raise ValueError
            track = int(values[4]) if len(values) == 5 else -1
            x1, y1, x2, y2 = values[:4]
            labels.append(Label(float(time_text), (x1, y1, x2, y2), track))
        except ValueError as error:
            raise DataError(
                f'{path}:{number}: must be "time: x1, y1, x2, y2" with or without ", track", is {line!r}.'
            ) from error
    return sorted(labels, key=lambda label: label.time_s)


def frame_times(names: Sequence[str], modality: str) -> list[tuple[float, str]]:
    """Return the time of each frame, in seconds since the first, and its name; by time.

    Args:
        names: File names of one folder.
        modality: ``'rgb'`` or ``'event'``.

    Returns:
        Pairs; files of other names (thumbnails, notes) are left out.
    """
    times = []
    for name in names:
        if modality == 'rgb':
            if match := _RGB_NAME.search(name):
                hours, minutes, seconds, fraction = match.groups()
                whole = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
                times.append((whole + float(f'0.{fraction}'), name))
        elif match := _EVENT_NAME.search(name):
            times.append((int(match.group(1)) / 1e6, name))
    times.sort()
    if modality == 'rgb' and times and times[-1][0] - times[0][0] > _DAY_S / 2:
        # The recording goes on past midnight.
        times = sorted((time + _DAY_S if time < _DAY_S / 2 else time, name) for time, name in times)
    return [(time - times[0][0], name) for time, name in times]


def nearest(times: Sequence[float], time_s: float) -> int:
    """Return the index of the nearest of sorted times."""
    right = bisect_left(times, time_s)
    around = [index for index in (right - 1, right) if 0 <= index < len(times)]
    return min(around, key=lambda index: abs(times[index] - time_s))


def match_labels(
    times: Sequence[float], labels: Sequence[Label], size: tuple[int, int], tolerance_s: float = TOLERANCE_S
) -> tuple[list[np.ndarray], Counter]:
    """Give each frame its boxes: of every drone the label nearest in time.

    Drones have labels at times of their own, so the nearest label is looked for drone by drone; labels without a
    number count as one drone.

    Args:
        times: Seconds of the frames.
        labels: Labels, by time.
        size: Height and width of the images.
        tolerance_s: Largest distance in time.

    Returns:
        Boxes (G, 4) of each frame, clipped to the image, and counts: ``boxes``, ``clipped`` (reached out of the image),
        ``outside`` (nothing left inside) and ``no_area`` (dropped), of the frames ``unlabeled``; and labels that no
        frame took (``unused_labels``).
    """
    tracks: dict[int, list[Label]] = {}
    for label in labels:
        tracks.setdefault(label.track, []).append(label)
    track_times = {track: [label.time_s for label in items] for track, items in tracks.items()}
    counts: Counter = Counter(frames=len(times), labels=len(labels))
    used: set[int] = set()
    limit_4 = np.array([size[1], size[0]] * 2, dtype=np.float64)
    matched = []
    for time_s in times:
        boxes: list[tuple] = []
        for track, items in tracks.items():
            best = track_times[track][nearest(track_times[track], time_s)]
            if abs(best - time_s) > tolerance_s:
                continue
            first = bisect_left(track_times[track], best)
            for label in items[first:]:
                if label.time_s != best:
                    break
                used.add(id(label))
                _clip(label, limit_4, boxes, counts)
        matched.append(np.array(boxes, dtype=np.float64).reshape(-1, 4))
        counts['boxes'] += len(boxes)
        counts['unlabeled'] += not boxes
    counts['unused_labels'] = len(labels) - len(used)
    return matched, counts


def _clip(label: Label, limit_4: np.ndarray, boxes: list, counts: Counter) -> None:
    box_4 = np.array(label.box)
    if (box_4[2:] <= box_4[:2]).any():
        counts['no_area'] += 1
        return
    clipped_4 = box_4.clip(0, limit_4)
    if (clipped_4[2:] - clipped_4[:2] < 1).any():
        counts['outside'] += 1
        return
    counts['clipped'] += bool((clipped_4 != box_4).any())
    boxes.append(clipped_4)
