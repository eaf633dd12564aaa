"""Check a data root of driver videos, index its frames, and divide its persons into folds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from mmopt.datasets.common.film.frame_index import FrameIndex
from mmopt.datasets.common.film.reader import VideoReader
from mmopt.datasets.video.layout import (
    DRIVER_ACTIONS,
    DRIVER_VIEWS,
    Recording,
    find_recordings,
    read_keypoints,
    read_ranges,
    read_segments,
)
from mmopt.utils.errors import DataError, UserError
from mmopt.utils.parallel import run_jobs
from mmopt.utils.whole_file import write_whole

__all__ = ['Report', 'group_folds', 'prepare']

_SHOWN = 8  # problems that a message lists


@dataclass
class Report:
    """What a data root holds.

    Attributes:
        segments: Segments by recording.
        per_action: Segments by action.
        lengths: Segment lengths in frames.
        rates: Recordings by the frame rate of their first view.
        hours: Length of the first views.
        folds: Persons held out in each fold.
        num_without_keypoints: Recordings without a folder of keypoints.
        notes: What is unusual but usable.
        skipped: Recordings left out because of ``skip_missing``, with the reason.
    """

    segments: dict[str, int] = field(default_factory=dict)
    per_action: Counter = field(default_factory=Counter)
    lengths: list[int] = field(default_factory=list)
    rates: Counter = field(default_factory=Counter)
    hours: float = 0.0
    folds: list[list[str]] = field(default_factory=list)
    num_without_keypoints: int = 0
    notes: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        low, middle, high = np.percentile(self.lengths, [5, 50, 95])
        actions = ', '.join(f'{name} {count}' for name, count in self.per_action.most_common())
        rates = ', '.join(f'{float(rate):.5g} fps ({count})' for rate, count in self.rates.most_common())
        lines = [
            f'{len(self.segments)} recordings ({self.hours:.2f} h), {rates}; {self.num_without_keypoints} of them '
            'without keypoints',
            f'{len(self.lengths)} segments: {actions}',
            f'segment lengths in frames: 5 % {low:.0f}, median {middle:.0f}, 95 % {high:.0f}',
            *(f'fold {number} holds out {", ".join(persons)}' for number, persons in enumerate(self.folds)),
        ]
        lines += [f'note: {note}' for note in self.notes[:_SHOWN]]
        if len(self.notes) > _SHOWN:
            lines.append(f'... and {len(self.notes) - _SHOWN} notes more')
        if self.skipped:
            lines.append(f'left out {len(self.skipped)}: {"; ".join(list(self.skipped.values())[:_SHOWN])}')
        return '\n'.join(lines)


def group_folds(sizes: Mapping[str, int], num_folds: int) -> list[list[str]]:
    """Divide groups into folds of about equal size; a group is never divided.

    Args:
        sizes: Samples by group.

    Returns:
        Groups of each fold: the largest group goes first, always to the smallest fold.

    Raises:
        UserError: If there are fewer groups than folds, or fewer than two folds.
    """
    if not 2 <= num_folds <= len(sizes):
        raise UserError(
            f'--num-folds {num_folds}: must be 2 or more, and at most the {len(sizes)} persons there are: no person '
            'may be in training and validation at once.'
        )
    folds: list[list[str]] = [[] for _ in range(num_folds)]
    totals = [0] * num_folds
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        smallest = totals.index(min(totals))
        folds[smallest].append(name)
        totals[smallest] += sizes[name]
    return [sorted(fold) for fold in folds]


def prepare(
    root: str | Path,
    num_folds: int = 5,
    *,
    views: Sequence[str] = DRIVER_VIEWS,
    first_frame: int = 0,
    skip_missing: bool = False,
    num_workers: int = 1,
) -> Report:
    """Check every recording; write frame indices and ``splits/fold_<k>_{train,val}.txt``.

    Of each video the packets are read, and its first and last frame decoded. Folds depend on the persons alone.

    Args:
        root: Data root; see :mod:`mmopt.datasets.video.layout`.
        num_folds: Folds; persons are held out whole.
        views: Cameras that every recording must have.
        first_frame: Number that the label files give to a video's first frame.
        skip_missing: Leave out recordings with missing or broken files instead of stopping.
        num_workers: Processes that read videos; 0 or 1 works in this one. A video that has an index is not read again.

    Returns:
        The report.

    Raises:
        DataNotFoundError: If there is no recording.
        DataError: If files are missing or broken; the message lists the first ones.
        UserError: If there are fewer persons than folds.
    """
    root = Path(root)
    recordings, ranges, report = find_recordings(root), read_ranges(root), Report()
    kept: list[Recording] = []
    jobs = [(recording, view) for recording in recordings for view in views]
    broken = dict(run_jobs(_index, jobs, num_workers if num_workers > 1 else 0, unit='video', desc='videos'))
    for recording in recordings:
        try:
            if texts := [text for view in views if (text := broken[recording.name, view])]:
                raise DataError(texts[0])
            _check(recording, ranges.get(recording.name), views, first_frame, report)
        except (DataError, FileNotFoundError) as error:
            report.skipped[recording.name] = str(error)
            continue
        kept.append(recording)
    if report.skipped and not (skip_missing and kept):
        problems = list(report.skipped.values())
        more = f'\n... and {len(problems) - _SHOWN} more' if len(problems) > _SHOWN else ''
        raise DataError(
            f'{len(problems)} recordings of {len(recordings)} cannot be used:\n'
            + '\n'.join(problems[:_SHOWN])
            + f'{more}\nMend them, or leave them out with --skip-missing.'
        )
    sizes: Counter = Counter()
    for recording in kept:
        sizes[recording.person] += report.segments[recording.name]
    report.folds = group_folds(sizes, num_folds)
    for number, persons in enumerate(report.folds):
        for split in ('train', 'val'):
            names = [r.name for r in kept if (r.person in persons) == (split == 'val')]
            path = root / 'splits' / f'fold_{number}_{split}.txt'
            write_whole(path, ''.join(f'{name}\n' for name in names))
    return report


def _index(recording: Recording, view: str) -> tuple[tuple[str, str], str]:
    """Index a video that has no index yet; returns which it is and what is wrong with it."""
    path, stored = recording.video_path(view), recording.index_path(view)
    which = recording.name, view
    try:
        if FrameIndex.load(path, stored) is not None:
            return which, ''
        index = FrameIndex.scan(path)
        reader = VideoReader(path, index)
        try:
            reader.read([0, len(reader) - 1])
        finally:
            reader.close()
        index.save(stored)
    except (DataError, FileNotFoundError) as error:
        return which, str(error)
    return which, ''


def _check(
    recording: Recording,
    span: tuple[int, int] | None,
    views: Sequence[str],
    first_frame: int,
    report: Report,
) -> None:
    segments = read_segments(recording.label_path, DRIVER_ACTIONS, first_frame)
    indices = [FrameIndex.of(recording.video_path(view), recording.index_path(view)) for view in views]
    num_frames = len(indices[0].pts_N)
    if not len(segments):
        raise DataError(f'{recording.label_path}: no segment is labeled.')
    if segments[:, 0].max() >= num_frames:
        raise DataError(
            f'{recording.label_path}: a segment begins at frame {segments[:, 0].max()}, '
            f'{recording.video_path(views[0])} has {num_frames}.'
        )
    if segments[:, 1].max() > num_frames:
        report.notes.append(f'{recording.name}: labels reach {segments[:, 1].max()}, the video has {num_frames} frames')
    if span is not None and (segments[:, 1].max() <= span[0] or segments[:, 0].min() >= span[1]):
        raise DataError(f'{recording.label_path}: no segment lies in the frames {span} that mini.json names.')
    ends_s = [index.time_s(-1) for index in indices]
    frame_s = ends_s[0] / max(num_frames - 1, 1)
    for view, end_s in zip(views, ends_s, strict=True):
        if abs(end_s - ends_s[0]) > 2 * frame_s:
            report.notes.append(f'{recording.name}: {view} ends {float(end_s - ends_s[0]):+.2f} s from {views[0]}')
    folder = recording.keypoint_path(0).parent
    if folder.is_dir():
        names = {path.name for path in folder.glob('*.npz')}
        labeled = np.unique(np.concatenate([np.arange(start, stop) for start, stop, _ in segments]))
        lost = [frame for frame in labeled if frame < num_frames and f'{frame:06d}.npz' not in names]
        if lost:
            raise DataError(f'{folder}: {len(lost)} labeled frames have no keypoints, frame {lost[0]} first.')
        read_keypoints(recording.keypoint_path(int(labeled[0])), 52)
    else:
        report.num_without_keypoints += 1
    report.segments[recording.name] = len(segments)
    report.per_action.update(DRIVER_ACTIONS[action] for action in segments[:, 2])
    report.lengths += (segments[:, 1] - segments[:, 0]).tolist()
    report.rates[1 / frame_s if frame_s else Fraction(0)] += 1
    report.hours += float(ends_s[0]) / 3600
