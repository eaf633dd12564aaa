"""The on-disk layout of Kaggle's MABe challenge, and its train.csv.

::

    train.csv                              one row per video: lab, fps, pixels per cm, body parts, labeled behaviors
    train_tracking/<lab>/<video>.parquet   video_frame, mouse_id, bodypart, x, y (pixels): long form
    train_annotation/<lab>/<video>.parquet agent_id, target_id, action, start_frame, stop_frame (stop excluded)

Mice count from 1 on disk and from 0 here. ``self`` as a target is the agent itself. Sessions annotated without agent
and target (Caltech annotator) have ``all`` in their place, here :data:`ALL`.

Parquet files are read and written by :mod:`mmopt.datasets.tad.tables`.
"""

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmopt.utils.errors import DataError, DataNotFoundError
from mmopt.utils.shipped import tool_command
from mmopt.utils.whole_file import whole_file

__all__ = [
    'ALL',
    'COLUMNS',
    'MAX_MICE',
    'Video',
    'parse_behavior',
    'parse_mouse',
    'pick_videos',
    'read_videos',
    'write_videos',
]

ALL = -1
"""Agent or target of a behavior that is annotated for the whole session."""
COLUMNS = dict(
    videos=(
        'lab_id',
        'video_id',
        'frames_per_second',
        'pix_per_cm_approx',
        'video_width_pix',
        'video_height_pix',
        'arena_width_cm',
        'arena_height_cm',
        'body_parts_tracked',
        'behaviors_labeled',
    ),
    tracking=('video_frame', 'mouse_id', 'bodypart', 'x', 'y'),
    annotation=('agent_id', 'target_id', 'action', 'start_frame', 'stop_frame'),
)
MAX_MICE = 127
"""Numbers of mice are kept as int8."""


@dataclass(frozen=True)
class Video:
    """One row of train.csv.

    Attributes:
        lab_id: Laboratory; the Kaggle score is averaged over them.
        video_id: Unique within the laboratory: many number theirs from 1.
        fps: Frames per second.
        size_px: Width and height of the picture.
        arena_cm: Longer side of the arena.
        body_parts: Parts tracked in this video.
        labeled: (agent, target, action) triples that an annotator looked for; nothing is known of the others.
    """

    lab_id: str
    video_id: str
    fps: float
    pixels_per_cm: float
    size_px: tuple[float, float]
    arena_cm: float
    body_parts: tuple[str, ...]
    labeled: tuple[tuple[int, int, str], ...]

    @property
    def name(self) -> str:
        """Laboratory and id: what a video is known by everywhere."""
        return f'{self.lab_id}/{self.video_id}'


def parse_mouse(value: str | int, agent: int | None = None) -> int:
    """Return the index of ``3``, ``'3'``, ``'mouse3'``, ``'all'``, or of ``'self'`` given the agent.

    Args:
        value: As in a file.
        agent: Index that ``self`` stands for.

    Returns:
        Index from 0, or :data:`ALL`.

    Raises:
        ValueError: If it is none of these.
    """
    text = str(value).strip()
    if text == 'all':
        return ALL
    if text == 'self' and agent is not None:
        return agent
    number = text.removeprefix('mouse')
    if not number.isdecimal() or not 1 <= int(number) <= MAX_MICE:
        raise ValueError(f'{value!r} names no mouse: expected mouse1, mouse2, ..., a number from 1, self or all')
    return int(number) - 1


def parse_behavior(text: str) -> tuple[int, int, str]:
    """Parse an entry of ``behaviors_labeled`` such as ``mouse1,self,rear``.

    Two labs quote each word (``"'mouse1','mouse2','sniff'"``); these quotes are not part of the name.

    Args:
        text: The entry.

    Returns:
        Agent, target (indices from 0) and action.

    Raises:
        ValueError: If there are not three words, or a mouse is unknown.
    """
    words = [word.strip().strip('\'"') for word in text.split(',')]
    if len(words) != 3 or not words[2]:
        raise ValueError(f'{text!r} is not "agent,target,action"')
    agent = parse_mouse(words[0])
    return agent, parse_mouse(words[1], agent), words[2]


def read_videos(path: str | Path) -> list[Video]:
    """Read train.csv or test.csv.

    Returns:
        One record per row, in order.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If a column is missing, a value cannot be read or a video is there twice; the message names file,
            line and column.
    """
    path = Path(path)
    if not path.is_file():
        raise DataNotFoundError(
            f'{path} is missing. Download the competition "MABe-mouse-behavior-detection" from Kaggle and run '
            f'`{tool_command("prepare_mabe")}`, or make the demo: `{tool_command("make_demo", "mabe")}`.'
        )
    with path.open(newline='', encoding='utf-8') as file:
        reader = csv.DictReader(file)
        missing = [name for name in COLUMNS['videos'] if name not in (reader.fieldnames or ())]
        if missing:
            raise DataError(f'{path}: missing column(s) {", ".join(missing)}; found {reader.fieldnames}.')
        videos = [_parse_video(path, line, row) for line, row in enumerate(reader, start=2)]
    first_line: dict[str, int] = {}
    for line, video in enumerate(videos, start=2):
        if (before := first_line.setdefault(video.name, line)) != line:
            raise DataError(
                f'{path}:{line}: video {video.video_id} of {video.lab_id} is there twice, first in line {before}.'
            )
    return videos


def pick_videos(path: str | Path, videos: Sequence[Video]) -> list[Video]:
    """Return the videos that a split file names.

    Args:
        path: One video per line, as ``laboratory/id``, or as its id alone where no two laboratories share it.
        videos: All videos.

    Returns:
        Those that are named, in the order of ``videos``.

    Raises:
        DataError: If a name is unknown, or an id is that of several videos.
    """
    by_name: dict[str, list[Video]] = defaultdict(list)
    for video in videos:
        by_name[video.name].append(video)
        by_name[video.video_id].append(video)
    wanted = dict.fromkeys(line.strip() for line in Path(path).read_text(encoding='utf-8').splitlines() if line.strip())
    absent = [name for name in wanted if name not in by_name]
    if absent:
        raise DataError(f'{path}: {len(absent)} video(s) are not in the list of videos: {", ".join(absent[:5])}.')
    for name in wanted:
        if len(by_name[name]) > 1:
            raise DataError(
                f'{path}: video {name} is one of {len(by_name[name])} laboratories; write which: '
                f'{" or ".join(video.name for video in by_name[name][:5])}, as tools/datasets/prepare_mabe.py does.'
            )
    chosen = {by_name[name][0].name for name in wanted}
    return [video for video in videos if video.name in chosen]


def _parse_video(path: Path, line: int, row: dict[str, str]) -> Video:
    column = ''

    def take(name: str, convert: Any) -> Any:
        nonlocal column
        column = name
        return convert(row[name])

    try:
        scale = take('pix_per_cm_approx', float)
        size_px = take('video_width_pix', float), take('video_height_pix', float)
        # Some rows lack the arena; the picture then shows little else.
        arena = [take(name, lambda text: float(text or 'nan')) for name in ('arena_width_cm', 'arena_height_cm')]
        labeled = take('behaviors_labeled', lambda text: tuple(map(parse_behavior, json.loads(text or '[]'))))
        video = Video(
            lab_id=row['lab_id'],
            video_id=row['video_id'],
            fps=take('frames_per_second', float),
            pixels_per_cm=scale,
            size_px=size_px,
            arena_cm=float(np.nanmax([*arena, *([max(size_px) / scale] if np.isnan(arena).all() else [])])),
            body_parts=take('body_parts_tracked', lambda text: tuple(json.loads(text))),
            labeled=tuple(dict.fromkeys(labeled)),
        )
        for name, value in (
            ('frames_per_second', video.fps),
            ('pix_per_cm_approx', scale),
            ('video_width_pix', size_px[0]),
            ('video_height_pix', size_px[1]),
            ('arena_width_cm and arena_height_cm', video.arena_cm),
        ):
            column = name
            if not 0 < value < math.inf:
                raise ValueError(f'{value:g} is not positive and finite')
        column = 'body_parts_tracked'
        if not video.body_parts or len(set(video.body_parts)) < len(video.body_parts):
            raise ValueError(f'the parts {list(video.body_parts)} are none or not all different')
    except (ValueError, TypeError) as error:
        raise DataError(f'{path}:{line}: column {column}: {error}.') from error
    return video


def write_videos(path: str | Path, rows: Iterable[dict]) -> None:
    """Write train.csv.

    Args:
        rows: One per video, with the columns of ``COLUMNS['videos']``.
    """
    with whole_file(path) as unfinished, unfinished.open('w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, fieldnames=COLUMNS['videos'])
        writer.writeheader()
        writer.writerows(rows)
