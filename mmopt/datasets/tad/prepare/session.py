"""One annotated session, from its raw files to MABe's layout, divided in time: to train on, to choose by, to report."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmopt.datasets.tad.layout import write_videos
from mmopt.datasets.tad.prepare.annotations import read_annotations
from mmopt.datasets.tad.prepare.intervals import Event
from mmopt.datasets.tad.prepare.poses import read_poses
from mmopt.datasets.tad.tables import write_table, write_tracks
from mmopt.utils.errors import DataError, UserError
from mmopt.utils.whole_file import write_whole

__all__ = ['NUM_STAGES', 'ImportedSession', 'Session', 'import_session']

_SPLITS = ('train', 'val', 'test')
NUM_STAGES = 2 + len(_SPLITS)
"""What :func:`import_session` does one after another: it reads two files and writes each part."""


@dataclass(frozen=True)
class Session:
    """What the raw files do not say.

    Attributes:
        pose: Tracks of any program that :func:`~mmopt.datasets.tad.prepare.poses.read_poses` reads.
        annotation: Intervals of any that :func:`~mmopt.datasets.tad.prepare.annotations.read_annotations` reads. They
            name neither agent nor target, so a behavior holds for the session.
        fps: Frames per second.
        pixels_per_cm: Scale; None: what makes the longer side of the tracked area ``arena_cm``.
        arena_cm: See there.
        min_likelihood: Points below it count as missing.
        val_share: Share in the middle, to choose settings by.
        test_share: Share at the end, to report once.
        name: Laboratory and prefix of the video ids.
    """

    pose: Path
    annotation: Path
    fps: float
    pixels_per_cm: float | None
    arena_cm: float = 50.0
    min_likelihood: float = 0.0
    val_share: float = 1 / 3
    test_share: float = 1 / 3
    name: str = 'session'

    def __post_init__(self) -> None:
        if min(self.val_share, self.test_share) <= 0 or self.val_share + self.test_share >= 1:
            raise UserError(
                f'val_share ({self.val_share}) and test_share ({self.test_share}) must be positive and leave something '
                'to train on.'
            )
        if not 0 < self.fps < math.inf or not 0 < (1 if self.pixels_per_cm is None else self.pixels_per_cm) < math.inf:
            raise UserError(f'fps ({self.fps}) and pixels_per_cm ({self.pixels_per_cm}) must be positive and finite.')


@dataclass(frozen=True)
class ImportedSession:
    """What was written.

    Attributes:
        frames: Frames of ``train``, ``val`` and ``test``.
        events: Their intervals, cut where a part ends.
        classes: Behaviors that have an interval, sorted.
        unseen: Behaviors that the annotation lists and that have none: they can neither be learned nor measured.
        num_mice: Animals.
    """

    frames: dict[str, int]
    events: dict[str, tuple[Event, ...]]
    classes: tuple[str, ...]
    unseen: tuple[str, ...]
    num_mice: int


def import_session(
    session: Session,
    out_dir: str | Path,
    say: Callable[[str], object] = print,
    advance: Callable[[], object] = lambda: None,
) -> ImportedSession:
    """Write a session as three videos, ``<name>_train``, ``_val`` and ``_test``: no window then spans a cut.

    ``splits`` has a file for each, and ``train_val.txt`` for the last training, when the settings are chosen. The arena
    is the area that the animals were tracked in; its corner becomes the origin.

    Args:
        session: Raw files and facts.
        out_dir: Data root to make.
        say: Takes lines for the user: what was odd about the files.
        advance: Called after each of :data:`NUM_STAGES` stages.

    Returns:
        What was written.

    Raises:
        DataNotFoundError: If a raw file is missing.
        DataError: If one is broken, no point is tracked, or the annotation goes on after the tracks end.
    """
    out_dir = Path(out_dir)
    tracks = read_poses(session.pose, session.min_likelihood)
    advance()
    num_frames = len(tracks.position_TMP2)
    intervals = read_annotations(session.annotation, session.fps).within(num_frames, session.annotation)
    advance()
    events = intervals.events
    for path, notes in ((session.pose, tracks.notes), (session.annotation, intervals.notes)):
        for note in notes:
            say(f'{path}: {note}')
    if not np.isfinite(tracks.position_TMP2).any():
        raise DataError(f'{session.pose}: no point has a likelihood of at least {session.min_likelihood}.')
    corner_px = np.floor(np.nanmin(tracks.position_TMP2, axis=(0, 1, 2)))
    position_TMP2 = tracks.position_TMP2 - corner_px
    width_px, height_px = (int(value) + 1 for value in np.nanmax(position_TMP2, axis=(0, 1, 2)))
    pixels_per_cm = session.pixels_per_cm
    if pixels_per_cm is None:
        pixels_per_cm = max(width_px, height_px) / session.arena_cm
        say(f'No scale is given: {pixels_per_cm:.3g} pixels per cm make the tracked area {session.arena_cm:g} cm long.')
    cuts = [0, round(num_frames * (1 - session.val_share - session.test_share))]
    cuts += [round(num_frames * (1 - session.test_share)), num_frames]
    rows, parts = [], {}
    classes = tuple(sorted({name for *_, name in events}))
    (out_dir / 'splits').mkdir(parents=True, exist_ok=True)
    for split, start, stop in zip(_SPLITS, cuts, cuts[1:], strict=False):
        video_id = f'{session.name}_{split}'
        write_tracks(
            out_dir / 'train_tracking' / session.name / f'{video_id}.parquet',
            position_TMP2[start:stop],
            tracks.body_parts,
        )
        overlapping = [event for event in events if event[0] < stop and event[1] > start]
        inside = [(max(first, start) - start, min(last, stop) - start, name) for first, last, name in overlapping]
        parts[split] = tuple(inside)
        starts, stops, names = zip(*inside, strict=True) if inside else ([],) * 3
        whole = ['all'] * len(inside)
        write_table(
            out_dir / 'train_annotation' / session.name / f'{video_id}.parquet',
            dict(agent_id=whole, target_id=whole, action=names, start_frame=starts, stop_frame=stops),
        )
        write_whole(out_dir / 'splits' / f'{split}.txt', f'{video_id}\n')
        rows.append(
            dict(
                lab_id=session.name,
                video_id=video_id,
                frames_per_second=session.fps,
                pix_per_cm_approx=pixels_per_cm,
                video_width_pix=width_px,
                video_height_pix=height_px,
                arena_width_cm='',
                arena_height_cm='',
                body_parts_tracked=json.dumps(tracks.body_parts),
                behaviors_labeled=json.dumps([f'all,all,{name}' for name in classes]),
            )
        )
        advance()
    both = ''.join(f'{session.name}_{split}\n' for split in _SPLITS[:2])
    write_whole(out_dir / 'splits' / 'train_val.txt', both)
    write_videos(out_dir / 'train.csv', rows)
    return ImportedSession(
        frames={split: stop - start for split, start, stop in zip(_SPLITS, cuts, cuts[1:], strict=False)},
        events=parts,
        classes=classes,
        unseen=tuple(name for name in intervals.behaviors if name not in classes),
        num_mice=len(tracks.individuals),
    )
