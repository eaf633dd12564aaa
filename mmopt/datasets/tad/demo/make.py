"""The demo data set: a small world of mice in the layout of Kaggle's MABe challenge.

Two laboratories differ in frame rate, scale, arena and body parts, and one of them annotates only some pairs. Points
are missing now and then, for a few frames or for long. Everything follows from the seed; see
:mod:`mmopt.datasets.tad.demo.world` for what the mice do.
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mmopt.datasets.common.demo_set import DemoKind, DemoSettings, Made, write_demo, write_demo_image
from mmopt.datasets.tad.demo.world import ACTIONS, BODY, DemoLab, lose_points, simulate
from mmopt.datasets.tad.layout import write_videos
from mmopt.datasets.tad.tables import count_frames, read_annotation, write_table, write_tracks
from mmopt.utils.errors import UserError
from mmopt.utils.timeline import draw_timeline

__all__ = ['DEMO_LABS', 'make_demo']

_MIN_VIDEO_S = 4.0  # every lab then has an event or the time for one
_FORMAT = 2  # raise it when tracks or labels change: sets of an older format are made anew


@dataclass(frozen=True)
class _VideoSettings(DemoSettings):
    """With the seconds of each video."""

    video_s: float


DEMO_LABS = (
    DemoLab('DemoOtter', 30.0, 16.0, (50.0, 40.0), tuple(name for name in BODY if name != 'body_center'), (2,)),
    DemoLab(
        'DemoHeron',
        25.0,
        11.0,
        (45.0, 45.0),
        ('nose', 'ear_left', 'ear_right', 'body_center', 'tail_base'),
        (2, 3),
        ('mouse2,mouse1,sniff', 'mouse3,mouse1,chase'),
    ),
)


def _behavior(agent: int, target: int, action: str) -> str:
    return f'mouse{agent + 1},{"self" if target == agent else f"mouse{target + 1}"},{action}'


def make_demo(
    out_dir: str | Path,
    num_train: int = 24,
    num_val: int = 8,
    seed: int = 0,
    *,
    num_workers: int = 0,
    force: bool = False,
    video_s: float = 80.0,
) -> Made:
    """Write the world: ``train.csv``, ``train_tracking``, ``train_annotation``, ``splits`` and ``preview.jpg``.

    How it grows, is continued and replaced: :func:`~mmopt.datasets.common.demo_set.write_demo`.

    Args:
        out_dir: The data root to make.
        seed: The same seed gives the same files.
        num_workers: Processes; 0 works in this one.
        force: Make a complete set anew.
        video_s: Length of each video in seconds.

    Returns:
        What was made.

    Raises:
        UserError: If a number is out of range, or the folder holds something else.
    """
    if video_s < _MIN_VIDEO_S:
        raise UserError(f'The demo needs videos of at least {_MIN_VIDEO_S:g} s, got video_s={video_s:g}.')
    settings = _VideoSettings(num_train, num_val, seed, _FORMAT, video_s)
    whole_set = ('train.csv', 'splits/train.txt', 'splits/val.txt', 'preview.jpg')
    kind = DemoKind(partial(_files, num_train=num_train), _write_video, _finish, whole_set)
    return write_demo(kind, out_dir, settings, num_workers=num_workers, force=force)


def _number(split: str, index: int, num_train: int) -> int:
    """Return the number of a video in the whole set."""
    return index if split == 'train' else num_train + index


def _video_id(number: int) -> str:
    return str(100000 + number)


def _cage(number: int) -> tuple[DemoLab, int]:
    """Return laboratory and mice of a video."""
    lab = DEMO_LABS[number % len(DEMO_LABS)]
    return lab, lab.num_mice[number // len(DEMO_LABS) % len(lab.num_mice)]


def _labeled(number: int) -> list[str]:
    """Return the behaviors that the annotators of a video looked for."""
    lab, num_mice = _cage(number)
    everything = [
        _behavior(agent, target, action)
        for agent in range(num_mice)
        for target in range(num_mice)
        for action in ACTIONS
        if (action == 'rear') == (agent == target)
    ]
    return [name for name in everything if name not in lab.blind]


def _files(root: Path, split: str, index: int, *, num_train: int) -> list[Path]:
    number = _number(split, index, num_train)
    name = Path(_cage(number)[0].name, f'{_video_id(number)}.parquet')
    return [root / 'train_tracking' / name, root / 'train_annotation' / name]


def _write_video(root: Path, split: str, index: int, settings: _VideoSettings) -> None:
    """Simulate and write one video."""
    number = _number(split, index, settings.num_train)
    rng = np.random.default_rng((settings.seed, number))
    lab, num_mice = _cage(number)
    position, events = simulate(lab, num_mice, round(settings.video_s * lab.fps), rng)
    center_px = np.array(lab.arena_cm) * lab.pixels_per_cm / 2
    pixels = (lose_points(position, lab.fps, rng) * lab.pixels_per_cm + center_px).astype(np.float32)
    tracks, annotation = _files(root, split, index, num_train=settings.num_train)
    write_tracks(tracks, pixels, lab.body_parts)
    labeled = set(_labeled(number))
    seen = [event for event in events if _behavior(*event[2:]) in labeled]
    start, stop, agent, target, action = zip(*seen, strict=True) if seen else ([],) * 5
    write_table(
        annotation,
        dict(
            agent_id=np.array(agent, dtype=np.int8) + 1,
            target_id=np.array(target, dtype=np.int8) + 1,
            action=list(action),
            start_frame=np.array(start, dtype=np.int32),
            stop_frame=np.array(stop, dtype=np.int32),
        ),
    )


def _finish(root: Path, settings: _VideoSettings) -> None:
    """Write what belongs to the set as a whole."""
    numbers = {
        split: [_number(split, index, settings.num_train) for index in range(count)]
        for split, count in dict(train=settings.num_train, val=settings.num_val).items()
    }
    write_videos(root / 'train.csv', map(_row, numbers['train'] + numbers['val']))
    (root / 'splits').mkdir(exist_ok=True)
    for split, part in numbers.items():
        (root / 'splits' / f'{split}.txt').write_text(''.join(f'{_video_id(n)}\n' for n in part), encoding='utf-8')
    _write_preview(root, settings)


def _write_preview(root: Path, settings: _VideoSettings) -> None:
    tracks, annotation = _files(root, 'train', 0, num_train=settings.num_train)
    lab, _ = _cage(0)
    events = read_annotation(annotation, ACTIONS)
    picture = draw_timeline(events, None, (0, count_frames(tracks)), ACTIONS, lab.fps, f'{lab.name} {_video_id(0)}')
    write_demo_image(root / 'preview.jpg', picture)


def _row(number: int) -> dict:
    """Return a video's row of train.csv."""
    lab, _ = _cage(number)
    width_px, height_px = (round(side * lab.pixels_per_cm) for side in lab.arena_cm)
    return dict(
        lab_id=lab.name,
        video_id=_video_id(number),
        frames_per_second=lab.fps,
        pix_per_cm_approx=lab.pixels_per_cm,
        video_width_pix=width_px,
        video_height_pix=height_px,
        arena_width_cm=lab.arena_cm[0],
        arena_height_cm=lab.arena_cm[1],
        body_parts_tracked=json.dumps(lab.body_parts),
        behaviors_labeled=json.dumps(_labeled(number)),
    )
