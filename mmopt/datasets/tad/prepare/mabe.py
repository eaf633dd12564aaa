"""Check a download of Kaggle's MABe challenge, count it, and divide it into training and validation."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmopt.datasets.tad.layout import Video, read_videos
from mmopt.datasets.tad.tables import count_frames, read_annotation, video_length
from mmopt.utils.errors import DataError, DataNotFoundError, UserError

__all__ = ['Report', 'prepare']

_SHOWN = 8  # problems that a message lists


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
        splits: Video ids of ``train`` and ``val``.
        skipped: Videos left out because of ``skip_missing``, with the reason.
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
        if self.skipped:
            lines.append(f'left out {len(self.skipped)}: {"; ".join(list(self.skipped.values())[:_SHOWN])}')
        return '\n'.join(lines)


def prepare(root: str | Path, val_share: float = 0.2, *, skip_missing: bool = False) -> Report:
    """Check every labeled video and write ``splits/train.txt``, ``splits/val.txt`` and ``index.json``.

    The split is made lab by lab and depends on the video ids alone, so a later download gives the same one.

    Args:
        root: Folder with train.csv, train_tracking and train_annotation.
        val_share: Share of each laboratory's videos for validation; at least one where there are two. Where no
            laboratory has two, the share of all videos.
        skip_missing: Leave out videos whose files are missing or broken instead of stopping.

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
    by_lab: dict[str, list[str]] = {}
    for video in videos:
        if not video.labeled:
            continue
        try:
            _check(root, video, classes, report)
        except (DataNotFoundError, DataError) as error:
            report.skipped[video.video_id] = str(error)
            continue
        by_lab.setdefault(video.lab_id, []).append(video.video_id)
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
        groups = [[name for names in groups for name in names]]
        if len(groups[0]) == 1:
            raise DataError(
                f'{root / "train.csv"}: video {groups[0][0]} is the only labeled one; training and validation need one '
                'each.'
            )
    for names in groups:
        names.sort(key=lambda name: hashlib.sha256(name.encode()).hexdigest())
        num_val = min(max(round(len(names) * val_share), 1), len(names) - 1)
        report.splits['val'] += names[:num_val]
        report.splits['train'] += names[num_val:]
    (root / 'splits').mkdir(exist_ok=True)
    for split, names in report.splits.items():
        (root / 'splits' / f'{split}.txt').write_text(''.join(f'{n}\n' for n in sorted(names)), encoding='utf-8')
    index = dict(classes=classes, num_frames=report.num_frames, events=dict(report.per_action))
    (root / 'index.json').write_text(json.dumps(index, indent=1) + '\n', encoding='utf-8')
    return report


def _check(root: Path, video: Video, classes: list[str], report: Report) -> None:
    name = Path(video.lab_id, f'{video.video_id}.parquet')
    num_tracked = count_frames(root / 'train_tracking' / name)
    if not num_tracked:
        raise DataError(f'{root / "train_tracking" / name}: no frame.')
    events = read_annotation(root / 'train_annotation' / name, classes)
    num_frames = video_length(num_tracked, events, root / 'train_annotation' / name)
    report.num_labeled += 1
    report.hours += num_frames / video.fps / 3600
    report.num_frames[video.video_id] = num_frames
    report.per_lab[video.lab_id] += 1
    report.per_action.update(classes[action] for action in events[:, 4])
    report.lengths += (events[:, 1] - events[:, 0]).tolist()
