"""The demo data set: drivers who look in nine directions, filmed by three cameras, with keypoints.

In the layout of :mod:`mmopt.datasets.video.layout`. Persons differ in size, colors, seat and how far they turn their
heads; environments in light, noise and traffic. Everything follows from the seed.
"""

import json
from pathlib import Path

import cv2
import numpy as np

from mmopt.datasets.common.demo_set import DemoKind, FilmSettings, Made, write_demo, write_demo_image
from mmopt.datasets.common.film.frame_index import import_av
from mmopt.datasets.video.demo.figure import DIRECTIONS, Driver, act, as_array, pose_points
from mmopt.datasets.video.demo.render import CAMERAS, Light, render
from mmopt.datasets.video.layout import DRIVER_ACTIONS, Recording, read_segments
from mmopt.utils.errors import UserError

__all__ = ['NUM_ROUNDS', 'make_demo']

_FORMAT = 2  # raise it when pictures or labels change: sets of an older format are made anew
_RATE = 10  # frames per second
_GOP = 10  # frames between key frames
NUM_ROUNDS = 2  # how often each action occurs in a recording
_FIRST_VAL_PERSON = 101
_LIGHTS = dict(
    day_high=Light(1.0, 4.0, 3),
    day_low=Light(0.95, 4.0, 1),
    night_high=Light(0.45, 8.0, 3),
    night_low=Light(0.4, 8.0, 0),
)


def make_demo(
    out_dir: str | Path,
    num_train: int = 12,
    num_val: int = 4,
    image_size: tuple[int, int] = (128, 128),
    seed: int = 0,
    *,
    num_workers: int = 0,
    force: bool = False,
) -> Made:
    """Write videos, labels, keypoints, ``mini.json``, ``splits/fold_0_{train,val}.txt`` and ``preview.jpg``.

    Args:
        out_dir: The data root to make.
        num_train: Training recordings of 18 segments; two have the same person.
        num_val: Validation recordings, of other persons.
        image_size: Height and width of the videos; even, as their coding asks.
        seed: The same seed gives the same set.
        num_workers: Processes; 0 works in this one.
        force: Make a complete set anew.

    Returns:
        What was made; see :func:`~mmopt.datasets.common.demo_set.write_demo`.

    Raises:
        UserError: If a number is out of range, or the folder holds something else.
    """
    if any(length % 2 for length in image_size):
        raise UserError(f'The demo needs an even height and width, got image_size={tuple(image_size)}.')
    if num_train > 2 * (_FIRST_VAL_PERSON - 1):
        raise UserError(f'The demo has at most {2 * (_FIRST_VAL_PERSON - 1)} training recordings, got {num_train}.')
    import_av()  # before anything is written
    settings = FilmSettings(num_train, num_val, seed, _FORMAT, image_size)
    kind = DemoKind(_files, _write_recording, _finish, ('mini.json', 'preview.jpg'))
    return write_demo(kind, out_dir, settings, num_workers=num_workers, force=force)


def _recording(root: Path, split: str, index: int) -> Recording:
    """Two recordings per person, in two environments."""
    number = index // 2
    person = number + (1 if split == 'train' else _FIRST_VAL_PERSON)
    return Recording(root, f'person_{person:02d}', list(_LIGHTS)[(number + index) % len(_LIGHTS)])


def _files(root: Path, split: str, index: int) -> list[Path]:
    recording = _recording(root, split, index)
    return [*map(recording.video_path, CAMERAS), recording.keypoint_path(0), recording.label_path]


def _finish(root: Path, settings: FilmSettings) -> None:
    """Write what belongs to the set as a whole."""
    annotated: dict[str, dict] = {}
    (root / 'splits').mkdir(exist_ok=True)
    for split, count in dict(train=settings.num_train, val=settings.num_val).items():
        recordings = [_recording(root, split, index) for index in range(count)]
        names = ''.join(f'{recording.name}\n' for recording in recordings)
        (root / 'splits' / f'fold_0_{split}.txt').write_text(names, encoding='utf-8')
        for recording in recordings:
            segments = read_segments(recording.label_path, DRIVER_ACTIONS)
            start, stop = int(segments[:, 0].min()), int(segments[:, 1].max())
            span = dict(start=start, mid=(start + stop) // 2, end=stop)
            annotated.setdefault(recording.person, {})[recording.environment] = span
    (root / 'mini.json').write_text(json.dumps(annotated, indent=1), encoding='utf-8')
    _write_preview(root, settings)


def _plan(rng: np.random.Generator) -> tuple[list[tuple[int, int, str]], int]:
    """Return the segments of a recording, in random order with short gaps, and its number of frames."""
    segments, place = [], 8
    for _ in range(NUM_ROUNDS):
        for action in rng.permutation(DRIVER_ACTIONS):
            length = int(rng.integers(12, 21))
            segments.append((place, place + length, str(action)))
            place += length + int(rng.integers(0, 5))
    return segments, place + 8


def _write_recording(root: Path, split: str, index: int, settings: FilmSettings) -> None:
    """Film one recording."""
    av = import_av()
    recording = _recording(root, split, index)
    driver = Driver.draw(np.random.default_rng((settings.seed, 1, int(recording.person.removeprefix('person_')))))
    rng = np.random.default_rng((settings.seed, 2, ('train', 'val').index(split), index))
    segments, num_frames = _plan(rng)
    angles = act(segments, num_frames, _RATE, rng)
    wheel = 0.15 * np.sin(np.arange(num_frames) / _RATE * 0.7 + rng.uniform(0, 6))
    light = _LIGHTS[recording.environment]
    for path in _files(root, split, index):
        path.parent.mkdir(parents=True, exist_ok=True)
    files, streams = {}, {}
    for view in CAMERAS:
        # FFmpeg's own MPEG-4: in every build, and the same bytes each time, which x264 does not promise.
        files[view] = av.open(str(recording.video_path(view)), 'w')
        stream = streams[view] = files[view].add_stream('mpeg4', rate=_RATE)
        stream.height, stream.width = settings.image_size
        stream.pix_fmt = 'yuv420p'
        stream.codec_context.gop_size = _GOP
        stream.bit_rate = 2_000_000
        stream.codec_context.thread_count = 1
    for frame in range(num_frames):
        yaw, pitch = angles[frame]
        points = pose_points(driver, yaw, pitch, wheel[frame])
        for view, camera in CAMERAS.items():
            image = render(points, driver, camera, light, frame / _RATE, settings.image_size, rng)
            planes = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
            files[view].mux(streams[view].encode(av.VideoFrame.from_ndarray(planes, format='yuv420p')))
        measured = as_array(points) + rng.normal(0, 0.004, (52, 3))
        measured[rng.random(52) < 0.02] = np.nan  # not found
        np.savez(recording.keypoint_path(frame), keypoints=measured.astype(np.float32))
    for view, file in files.items():
        file.mux(streams[view].encode())
        file.close()
    labels = [dict(timelinelabels=[action], ranges=[dict(start=start, end=stop)]) for start, stop, action in segments]
    content = dict(annotations=[dict(videoLabels=labels)])
    recording.label_path.write_text(json.dumps(content), encoding='utf-8')


def _write_preview(root: Path, settings: FilmSettings) -> None:
    """Draw each action as each camera sees it."""
    rng = np.random.default_rng((settings.seed, 3))
    light, rows = _LIGHTS['day_high'], []
    driver = Driver.draw(np.random.default_rng((settings.seed, 1, 1)))
    for view in CAMERAS.values():
        cells = []
        for action in DRIVER_ACTIONS:
            points = pose_points(driver, *DIRECTIONS[action], 0.0)
            cells.append(render(points, driver, view, light, 0.0, settings.image_size, rng))
        rows.append(np.concatenate(cells, axis=1))
    write_demo_image(root / 'preview.jpg', np.concatenate(rows), 90)
