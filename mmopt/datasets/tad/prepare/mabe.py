"""Check a download of Kaggle's MABe challenge, count it, and divide it into training and validation."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmopt.datasets.tad.layout import Video, read_videos
from mmopt.datasets.tad.tables import count_frames, read_annotation, read_tracks, video_length
from mmopt.utils.errors import DataError, DataNotFoundError, UserError
from mmopt.utils.parallel import run_jobs
from mmopt.utils.whole_file import write_whole

__all__ = ['Report', 'prepare']

_SHOWN = 8  # problems that a message lists
_FORMAT = 1  # raise it when what is checked changes: videos are read anew


@dataclass
class Report:
    """What a download holds.

    Attributes:
        num_videos: Rows of train.csv.
        num_labeled: Those with labeled behaviors.
        hours: Length of the labeled ones.
        num_frames: Frames by video.
        per_lab: Labeled videos by laboratory.
        per_action: Events by action.
        lengths: Event lengths in frames.
        splits: Names of the videos (``laboratory/id``) of ``train`` and ``val``.
        skipped: Videos left out because of ``skip_missing``, with the reason.
        lacking: Videos whose tracks lack parts that train.csv lists, with them.
    """

    num_videos: int = 0
    num_labeled: int = 0
    hours: float = 0.0
    num_frames: dict[str, int] = field(default_factory=dict)
    per_lab: Counter = field(default_factory=Counter)
    per_action: Counter = field(default_factory=Counter)
    lengths: list[int] = field(default_factory=list)
    splits: dict[str, list[str]] = field(default_factory=lambda: dict(train=[], val=[]))
    skipped: dict[str, str] = field(default_factory=dict)
    lacking: dict[str, list[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        low, middle, high = np.percentile(self.lengths, [5, 50, 95]) if self.lengths else (0, 0, 0)
        labs = ', '.join(f'{name} {count}' for name, count in sorted(self.per_lab.items()))
        actions = ', '.join(f'{name} {count}' for name, count in self.per_action.most_common())
        lines = [
            f'{self.num_videos} videos, {self.num_labeled} of them labeled ({self.hours:.1f} h) in '
            f'{len(self.per_lab)} laboratories: {labs}',
            f'{len(self.lengths)} events of {len(self.per_action)} actions: {actions}',
            f'event lengths in frames: 5 % {low:.0f}, median {middle:.0f}, 95 % {high:.0f}',
            f'train {len(self.splits["train"])} videos, val {len(self.splits["val"])}',
        ]
        if self.lacking:
            name, parts = next(iter(self.lacking.items()))
            lines.append(
                f'{len(self.lacking)} videos have no point of some parts that train.csv lists ({name}: '
                f'{", ".join(parts)}): they stay missing'
            )
        if self.skipped:
            lines.append(f'left out {len(self.skipped)}: {"; ".join(list(self.skipped.values())[:_SHOWN])}')
        return '\n'.join(lines)


def prepare(root: str | Path, val_share: float = 0.2, *, skip_missing: bool = False, num_workers: int = 0) -> Report:
    """Read every labeled video as training will, and write ``splits/train.txt``, ``splits/val.txt`` and ``index.json``.

    What was found in a video is kept in ``cache/checked``: a stopped run goes on, and a video whose files changed is
    read anew. The split is made lab by lab and depends on the video ids alone, so a later download gives the same one.

    Args:
        root: Folder with train.csv, train_tracking and train_annotation.
        val_share: Share of each laboratory's videos for validation; at least one where there are two. Where no
            laboratory has two, the share of all videos.
        skip_missing: Leave out videos whose files are missing or broken instead of stopping.
        num_workers: Processes; 0 works in this one.

    Returns:
        The report.

    Raises:
        DataNotFoundError: If train.csv or another file is missing.
        DataError: If files are broken (the message lists the first ones) or no video is labeled.
        UserError: If ``val_share`` is out of range.
    """
    if not 0 < val_share < 1:
        raise UserError(f'val_share must lie between 0 and 1, got {val_share}.')
    root = Path(root)
    videos = read_videos(root / 'train.csv')
    for folder in ('train_tracking', 'train_annotation'):
        if not (root / folder).is_dir():
            raise DataNotFoundError(f'{root / folder} is missing: unpack the whole competition download into {root}.')
    report = Report(num_videos=len(videos))
    classes = sorted({action for video in videos for *_, action in video.labeled})
    by_lab: dict[str, list[Video]] = {}
    labeled = {video.name: video for video in videos if video.labeled}
    jobs = [(root, video, classes) for video in labeled.values()]
    found = {checked.name: checked for checked in run_jobs(_check, jobs, num_workers, unit='video', desc='checking')}
    for name, video in labeled.items():
        checked = found[name]
        if checked.problem:
            report.skipped[name] = checked.problem
            continue
        _count(report, video, checked, classes)
        by_lab.setdefault(video.lab_id, []).append(video)
    if report.skipped and not skip_missing:
        problems = list(report.skipped.values())
        more = f'\n... and {len(problems) - _SHOWN} more' if len(problems) > _SHOWN else ''
        raise DataError(
            f'{len(problems)} labeled video(s) cannot be used:\n'
            + '\n'.join(problems[:_SHOWN])
            + f'{more}\nDownload them again, or leave them out with --skip-missing.'
        )
    if not by_lab:
        raise DataError(
            f'{root / "train.csv"}: none of its {len(videos)} videos has behaviors_labeled: nothing to train on.'
        )
    groups = list(by_lab.values())
    if max(map(len, groups)) == 1:  # else nothing would be left to validate on
        groups = [[video for of_lab in groups for video in of_lab]]
        if len(groups[0]) == 1:
            raise DataError(
                f'{root / "train.csv"}: video {groups[0][0].name} is the only labeled one; training and validation '
                'need one each.'
            )
    for group in groups:
        group.sort(key=lambda video: hashlib.sha256(video.video_id.encode()).hexdigest())
        num_val = min(max(round(len(group) * val_share), 1), len(group) - 1)
        report.splits['val'] += [video.name for video in group[:num_val]]
        report.splits['train'] += [video.name for video in group[num_val:]]
    for split, names in report.splits.items():
        write_whole(root / 'splits' / f'{split}.txt', ''.join(f'{name}\n' for name in sorted(names)))
    index = dict(classes=classes, num_frames=report.num_frames, events=dict(report.per_action))
    write_whole(root / 'index.json', json.dumps(index, indent=1) + '\n')
    return report


@dataclass(frozen=True)
class _Checked:
    """What one video holds, or why it cannot be used."""

    name: str
    problem: str = ''
    num_frames: int = 0
    events_N5: np.ndarray = field(default_factory=lambda: np.zeros((0, 5), dtype=np.int64))
    lacking: tuple[str, ...] = ()


def _check(root: Path, video: Video, classes: list[str]) -> _Checked:
    file = Path(video.lab_id, f'{video.video_id}.parquet')
    tracking, annotation = root / 'train_tracking' / file, root / 'train_annotation' / file
    stored = (root / 'cache' / 'checked' / file).with_suffix('.json')
    mark = _made_of(tracking, annotation, video, classes)
    known = _read_stored(stored)
    if mark and known.get('made_of') == mark:
        events_N5 = np.array(known['events'], dtype=np.int64).reshape(-1, 5)
        return _Checked(video.name, '', known['num_frames'], events_N5, tuple(known['lacking']))
    try:
        if not count_frames(tracking):
            raise DataError(f'{tracking}: no frame.')
        tracks_TMP2 = read_tracks(tracking, video.body_parts)
        events = read_annotation(annotation, classes)
        num_frames = video_length(len(tracks_TMP2), events, annotation)
    except (DataNotFoundError, DataError) as error:
        return _Checked(video.name, problem=str(error))
    seen = np.isfinite(tracks_TMP2).all(-1).any((0, 1))
    lacking = tuple(part for part, has_points in zip(video.body_parts, seen, strict=True) if not has_points)
    good = dict(made_of=mark, num_frames=num_frames, events=events.tolist(), lacking=lacking)
    write_whole(stored, json.dumps(good))
    return _Checked(video.name, '', num_frames, events, lacking)


def _made_of(tracking: Path, annotation: Path, video: Video, classes: list[str]) -> str:
    """Return what changes when the files of a video, its row or the classes do; empty where a file is missing."""
    try:
        stats = [(path.stat().st_size, path.stat().st_mtime_ns) for path in (tracking, annotation)]
    except OSError:
        return ''
    return hashlib.sha256(repr((_FORMAT, stats, video, classes)).encode()).hexdigest()


def _read_stored(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}


def _count(report: Report, video: Video, checked: _Checked, classes: list[str]) -> None:
    events_N5 = checked.events_N5
    report.num_labeled += 1
    report.hours += checked.num_frames / video.fps / 3600
    report.num_frames[video.name] = checked.num_frames
    report.per_lab[video.lab_id] += 1
    report.per_action.update(classes[action] for action in events_N5[:, 4])
    report.lengths += (events_N5[:, 1] - events_N5[:, 0]).tolist()
    if checked.lacking:
        report.lacking[video.name] = list(checked.lacking)
