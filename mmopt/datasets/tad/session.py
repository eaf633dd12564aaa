"""One annotated session, from its raw files to MABe's layout, with its last part held out."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmopt.datasets.tad.layout import COLUMNS, write_table
from mmopt.datasets.tad.readers import PoseTracks, read_caltech, read_deeplabcut
from mmopt.utils.errors import DataError

__all__ = ['Session', 'import_session']


@dataclass(frozen=True)
class Session:
    """What the raw files do not say.

    Attributes:
        pose: DeepLabCut CSV.
        annotation: Caltech annotation text. It names neither agent nor target, so its behaviours hold for the session.
        fps: Frames per second.
        pixels_per_cm: Scale.
        size_px: Width and height of the picture; None takes the farthest tracked point.
        min_likelihood: Points below it count as missing.
        holdout: Share at the end that is for validation.
        name: Laboratory and prefix of the video ids.
    """

    pose: Path
    annotation: Path
    fps: float
    pixels_per_cm: float
    size_px: tuple[int, int] | None = None
    min_likelihood: float = 0.0
    holdout: float = 1 / 3
    name: str = 'session'

    def __post_init__(self) -> None:
        if not 0 < self.holdout < 1:
            raise ValueError(f'holdout must be between 0 and 1, got {self.holdout}.')
        if self.fps <= 0 or self.pixels_per_cm <= 0:
            raise ValueError(f'fps ({self.fps}) and pixels_per_cm ({self.pixels_per_cm}) must be positive.')


def import_session(session: Session, out_dir: str | Path) -> dict[str, int]:
    """Write a session as two videos, ``<name>_train`` and ``<name>_val``: no window then spans the cut.

    Args:
        session: Raw files and facts.
        out_dir: Data root to make.

    Returns:
        Frames of either part.

    Raises:
        DataNotFoundError: If a raw file is missing.
        DataError: If one is broken, or the annotation goes on after the tracks end.
    """
    out_dir = Path(out_dir)
    tracks = read_deeplabcut(session.pose, session.min_likelihood)
    events = read_caltech(session.annotation)
    num_frames = len(tracks.position_TMP2)
    if events and max(stop for _, stop, _ in events) > num_frames:
        raise DataError(
            f'{session.annotation}: an interval ends at frame {max(stop for _, stop, _ in events)}, but {session.pose} '
            f'has {num_frames} frames: they are not of one session.'
        )
    size_px = session.size_px
    if size_px is None:
        size_px = tuple(int(value) for value in np.ceil(np.nanmax(tracks.position_TMP2, axis=(0, 1, 2))))
    cut = round(num_frames * (1 - session.holdout))
    rows = []
    for split, start, stop in (('train', 0, cut), ('val', cut, num_frames)):
        video_id = f'{session.name}_{split}'
        _write_tracks(out_dir / 'train_tracking' / session.name / f'{video_id}.parquet', tracks, start, stop)
        overlapping = [event for event in events if event[0] < stop and event[1] > start]
        inside = [(max(first, start) - start, min(last, stop) - start, name) for first, last, name in overlapping]
        starts, stops, names = zip(*inside, strict=True) if inside else ([],) * 3
        whole = ['all'] * len(inside)
        write_table(
            out_dir / 'train_annotation' / session.name / f'{video_id}.parquet',
            dict(agent_id=whole, target_id=whole, action=names, start_frame=starts, stop_frame=stops),
        )
        (out_dir / 'splits').mkdir(exist_ok=True)
        (out_dir / 'splits' / f'{split}.txt').write_text(f'{video_id}\n', encoding='utf-8')
        rows.append(
            dict(
                lab_id=session.name,
                video_id=video_id,
                frames_per_second=session.fps,
                pix_per_cm_approx=session.pixels_per_cm,
                video_width_pix=size_px[0],
                video_height_pix=size_px[1],
                arena_width_cm='',
                arena_height_cm='',
                body_parts_tracked=json.dumps(tracks.body_parts),
                behaviors_labeled=json.dumps([f'all,all,{name}' for name in sorted({name for *_, name in events})]),
            )
        )
    with (out_dir / 'train.csv').open('w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, fieldnames=COLUMNS['videos'])
        writer.writeheader()
        writer.writerows(rows)
    return dict(train=cut, val=num_frames - cut)


def _write_tracks(path: Path, tracks: PoseTracks, start: int, stop: int) -> None:
    position = tracks.position_TMP2[start:stop]
    frame, mouse, part = np.nonzero(np.isfinite(position).all(-1))
    write_table(
        path,
        dict(
            video_frame=frame.astype(np.int32),
            mouse_id=(mouse + 1).astype(np.int8),
            bodypart=[tracks.body_parts[number] for number in part],
            x=position[frame, mouse, part, 0],
            y=position[frame, mouse, part, 1],
        ),
    )
