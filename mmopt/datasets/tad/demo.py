"""The demo data set: a small world of mice in the layout of Kaggle's MABe challenge.

Two laboratories differ in frame rate, scale, arena and body parts, and one of them annotates only some pairs. Points
are missing now and then, for a few frames or for long. Everything follows from the seed; see
:mod:`mmopt.datasets.tad.world` for what the mice do.
"""

import csv
import json
import multiprocessing
import shutil
import time
from pathlib import Path

import cv2
import numpy as np

from mmopt.datasets.common.demo_set import Made
from mmopt.datasets.tad.layout import COLUMNS, count_frames, read_annotation, write_table
from mmopt.datasets.tad.world import ACTIONS, BODY, DemoLab, lose_points, simulate
from mmopt.utils.errors import DataError
from mmopt.utils.timeline import draw_timeline

__all__ = ['DEMO_LABS', 'Made', 'make_demo']

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


def _name(agent: int, target: int, action: str) -> str:
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

    It is made in ``<out_dir>.partial`` and renamed when it is complete, so a data root is whole or absent; a complete
    set of the same settings is left alone.

    Args:
        out_dir: The data root to make.
        num_train: Training videos.
        num_val: Validation videos.
        seed: The same seed gives the same files.
        num_workers: Processes; 0 works in this one.
        force: Make a complete set anew.
        video_s: Length of each video in seconds.

    Returns:
        What was made.

    Raises:
        DataError: If the folder exists and is not a demo of these settings.
    """
    began = time.perf_counter()
    out_dir = Path(out_dir)
    settings = json.dumps(dict(demo='mabe', version=1, train=num_train, val=num_val, seed=seed, video_s=video_s))
    marker = out_dir / 'demo.json'
    known = marker.read_text(encoding='utf-8') if marker.is_file() else None
    if known == settings and not force:
        return Made(out_dir, num_train, num_val, 0.0)
    if known is None and out_dir.is_dir() and any(out_dir.iterdir()):
        raise DataError(f'{out_dir} exists and is no demo: choose another folder with --out.')
    if known is not None and known != settings and not force:
        raise DataError(f'{out_dir} holds a demo of other settings ({known}): add --force or choose another --out.')
    partial = out_dir.with_name(out_dir.name + '.partial')
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    jobs = [(partial, number, seed, video_s) for number in range(num_train + num_val)]
    if num_workers > 1:
        # Spawned, not forked: torch's threads are already running here.
        with multiprocessing.get_context('spawn').Pool(num_workers) as pool:
            rows = pool.starmap(_write_video, jobs)
    else:
        rows = [_write_video(*job) for job in jobs]
    with (partial / 'train.csv').open('w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, fieldnames=COLUMNS['videos'])
        writer.writeheader()
        writer.writerows(rows)
    (partial / 'splits').mkdir()
    for split, part in dict(train=rows[:num_train], val=rows[num_train:]).items():
        text = ''.join(f'{row["video_id"]}\n' for row in part)
        (partial / 'splits' / f'{split}.txt').write_text(text, encoding='utf-8')
    _write_preview(partial, rows[0])
    (partial / 'demo.json').write_text(settings, encoding='utf-8')
    shutil.rmtree(out_dir, ignore_errors=True)
    partial.rename(out_dir)
    return Made(out_dir, num_train, num_val, time.perf_counter() - began)


def _write_preview(root: Path, row: dict) -> None:
    events = read_annotation(root / 'train_annotation' / row['lab_id'] / f'{row["video_id"]}.parquet', ACTIONS)
    num_frames = count_frames(root / 'train_tracking' / row['lab_id'] / f'{row["video_id"]}.parquet')
    title = f'{row["lab_id"]} {row["video_id"]}'
    picture = draw_timeline(events, None, (0, num_frames), ACTIONS, row['frames_per_second'], title)
    cv2.imwrite(str(root / 'preview.jpg'), picture[..., ::-1])


def _write_video(out_dir: Path, number: int, seed: int, video_s: float) -> dict:
    """Simulate and write one video; returns its row of train.csv."""
    rng = np.random.default_rng((seed, number))
    lab = DEMO_LABS[number % len(DEMO_LABS)]
    num_mice = lab.num_mice[number // len(DEMO_LABS) % len(lab.num_mice)]
    video_id, num_frames = str(100000 + number), round(video_s * lab.fps)
    position, events = simulate(lab, num_mice, num_frames, rng)
    centre_px = np.array(lab.arena_cm) * lab.pixels_per_cm / 2
    pixels = (lose_points(position, lab.fps, rng) * lab.pixels_per_cm + centre_px).astype(np.float32)
    frame, mouse, part = np.nonzero(np.isfinite(pixels).all(-1))
    write_table(
        out_dir / 'train_tracking' / lab.name / f'{video_id}.parquet',
        dict(
            video_frame=frame.astype(np.int16),
            mouse_id=(mouse + 1).astype(np.int8),
            bodypart=[lab.body_parts[p] for p in part],
            x=pixels[frame, mouse, part, 0],
            y=pixels[frame, mouse, part, 1],
        ),
    )
    everything = [
        _name(agent, target, action)
        for agent in range(num_mice)
        for target in range(num_mice)
        for action in ACTIONS
        if (action == 'rear') == (agent == target)
    ]
    labelled = [name for name in everything if name not in lab.blind]
    seen = [event for event in events if _name(*event[2:]) in labelled]
    start, stop, agent, target, action = zip(*seen, strict=True) if seen else ([],) * 5
    write_table(
        out_dir / 'train_annotation' / lab.name / f'{video_id}.parquet',
        dict(
            agent_id=np.array(agent, dtype=np.int8) + 1,
            target_id=np.array(target, dtype=np.int8) + 1,
            action=list(action),
            start_frame=np.array(start, dtype=np.int16),
            stop_frame=np.array(stop, dtype=np.int16),
        ),
    )
    width_px, height_px = (round(side * lab.pixels_per_cm) for side in lab.arena_cm)
    return dict(
        lab_id=lab.name,
        video_id=video_id,
        frames_per_second=lab.fps,
        pix_per_cm_approx=lab.pixels_per_cm,
        video_width_pix=width_px,
        video_height_pix=height_px,
        arena_width_cm=lab.arena_cm[0],
        arena_height_cm=lab.arena_cm[1],
        body_parts_tracked=json.dumps(lab.body_parts),
        behaviors_labeled=json.dumps(labelled),
    )
