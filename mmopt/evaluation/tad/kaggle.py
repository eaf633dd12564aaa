"""The score and the submission file of Kaggle's "MABe Challenge - Social Action Recognition in Mice".

The score compares sets of frames. Per laboratory and action, frames of all videos and mouse pairs are pooled into one
F1; actions are averaged within a laboratory, laboratories at last. Its fine print, all kept here:

- a video without a true event does not exist: what is predicted there counts for nothing;
- a prediction that is not in ``behaviors_labeled`` of its video is skipped before anything is checked;
- frames predicted twice with the same action are no fault, two actions on one frame for one pair are an error;
- an action that is predicted, but never true in the laboratory, enters the laboratory's mean as 0.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmopt.ops.merge_events import resolve_overlaps
from mmopt.structures.mice import mouse_name, target_name
from mmopt.utils.errors import DataError

__all__ = [
    'Event',
    'kaggle_score',
    'read_submission',
    'resolve_overlaps',
    'short_names',
    'to_events',
    'write_submission',
]

COLUMNS = ('row_id', 'video_id', 'agent_id', 'target_id', 'action', 'start_frame', 'stop_frame')


@dataclass(frozen=True)
class Event:
    """One row of a solution or of a submission.

    Attributes:
        agent: ``'mouse1'``, ...
        target: ``'mouse2'``, ..., or ``'self'``.
        action: Name.
        start: First frame.
        stop: Frame after the last.
    """

    video_id: str
    agent: str
    target: str
    action: str
    start: int
    stop: int

    @property
    def behavior(self) -> str:
        """The entry of ``behaviors_labeled`` that it needs."""
        return f'{self.agent},{self.target},{self.action}'


def kaggle_score(
    solution: Iterable[Event],
    submission: Iterable[Event],
    labeled: Mapping[str, Collection[str]],
    lab_of: Mapping[str, str],
) -> float:
    """Compute the competition's score.

    Args:
        solution: True events.
        submission: Predicted events, in the order of the file.
        labeled: ``behaviors_labeled`` of each video, e.g. ``{'7': {'mouse1,mouse2,attack'}}``.
        lab_of: Laboratory of each video.

    Returns:
        The score in [0, 1].

    Raises:
        DataError: If there is no solution, an interval ends before it starts, or one agent-target pair has two
            actions on one frame.
    """
    by_video: dict[str, list[Event]] = defaultdict(list)
    for event in solution:
        by_video[_checked(event).video_id].append(event)
    if not by_video:
        raise DataError('The solution has no event, so there is nothing to score.')
    predicted: dict[str, list[Event]] = defaultdict(list)
    for event in submission:
        predicted[_checked(event).video_id].append(event)
    labs: dict[str, list[str]] = defaultdict(list)
    for video in by_video:
        labs[lab_of[video]].append(video)
    scores = []
    for videos in labs.values():
        counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for video in videos:
            _count_video(counts, by_video[video], predicted[video], labeled[video])
        values = [2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0 for tp, fp, fn in counts.values()]
        scores.append(sum(values) / len(values))
    return sum(scores) / len(scores)


def _checked(event: Event) -> Event:
    if event.start > event.stop:
        raise DataError(
            f'Video {event.video_id}: {event.behavior}: start_frame {event.start} > stop_frame {event.stop}.'
        )
    return event


def _count_video(
    counts: dict[str, list[int]], truth: list[Event], predicted: list[Event], labeled: Collection[str]
) -> None:
    true_frames: dict[tuple, set[int]] = defaultdict(set)
    for event in truth:
        true_frames[event.agent, event.target, event.action].update(range(event.start, event.stop))
    frames: dict[tuple, set[int]] = defaultdict(set)
    of_pair: dict[tuple, set[int]] = defaultdict(set)
    for event in predicted:
        if event.behavior not in labeled:
            continue
        key, pair = (event.agent, event.target, event.action), (event.agent, event.target)
        new = set(range(event.start, event.stop)) - frames[key]
        clash = of_pair[pair] & new
        if clash:
            raise DataError(
                f'Video {event.video_id}: multiple predictions for the same frame from one agent/target pair: frame '
                f'{min(clash)}, {event.agent} and {event.target}, {event.action} and another action. '
                'resolve_overlaps() keeps the better one.'
            )
        frames[key] |= new
        of_pair[pair] |= new
    for key in true_frames.keys() | frames.keys():
        true, pred = true_frames.get(key, set()), frames.get(key, set())
        count = counts[key[2]]
        count[0] += len(true & pred)
        count[1] += len(pred - true)
        count[2] += len(true - pred)


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Shorten ``laboratory/id`` to the id, which the competition's files have, where no two laboratories share it."""
    ids = {name: name.rpartition('/')[2] for name in names}
    num_videos = Counter(ids.values())
    return {name: short if num_videos[short] == 1 else name for name, short in ids.items()}


def to_events(video_id: str, events_N5: np.ndarray, classes: Sequence[str]) -> list[Event]:
    """Turn rows of numbers into events with names.

    Args:
        events_N5: Start, stop, agent, target, action.
        classes: Names of the actions.

    Returns:
        Events; a target equal to its agent is ``'self'``.
    """
    return [
        Event(
            video_id,
            mouse_name(agent),
            target_name(agent, target),
            classes[action],
            start,
            stop,
        )
        for start, stop, agent, target, action in events_N5.astype(np.int64).tolist()
    ]


def write_submission(path: str | Path, events: Iterable[Event]) -> None:
    """Write submission.csv."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number, event in enumerate(events):
            writer.writerow((number, event.video_id, event.agent, event.target, event.action, event.start, event.stop))


def read_submission(path: str | Path) -> list[Event]:
    """Read a submission.

    Returns:
        Its events, in order.

    Raises:
        DataError: If a column is missing or a frame is no whole number; the message names file and line.
    """
    with Path(path).open(newline='', encoding='utf-8') as file:
        reader = csv.DictReader(file)
        missing = [name for name in COLUMNS[1:] if name not in (reader.fieldnames or ())]
        if missing:
            raise DataError(f'{path}: missing column(s) {", ".join(missing)}; found {reader.fieldnames}.')
        events = []
        for line, row in enumerate(reader, start=2):
            try:
                start, stop = int(row['start_frame']), int(row['stop_frame'])
            except (TypeError, ValueError) as error:
                raise DataError(f'{path}:{line}: start_frame and stop_frame must be whole numbers: {error}.') from error
            events.append(Event(row['video_id'], row['agent_id'], row['target_id'], row['action'], start, stop))
        return events
