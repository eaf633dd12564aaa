"""The demo data set: drivers who look in nine directions, filmed by three cameras, with keypoints.

In the layout of :mod:`mmopt.datasets.video.layout`. Persons differ in size, colours, seat and how far they turn their
heads; environments in light, noise and traffic. Everything follows from the seed.
"""

import json
import multiprocessing
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from mmopt.datasets.video.figure import DIRECTIONS, Driver, act, as_array, pose_points
from mmopt.datasets.video.frame_index import import_av
from mmopt.datasets.video.layout import DRIVER_ACTIONS, Recording
from mmopt.datasets.video.render import CAMERAS, Light, render
from mmopt.utils.errors import UserError

__all__ = ['Made', 'make_demo']

_FORMAT = 1  # raise it when pictures or labels change: sets of an older format are made anew
_RATE = 10  # frames per second
_GOP = 10  # frames between key frames
_LIGHTS = dict(
    day_high=Light(1.0, 4.0, 3),
    day_low=Light(0.95, 4.0, 1),
    night_high=Light(0.45, 8.0, 3),
    night_low=Light(0.4, 8.0, 0),
)


@dataclass(frozen=True)
class Made:
    """What :func:`make_demo` did.

    Attributes:
        out: The data root.
        num_train: Training recordings in it.
        num_val: Validation recordings in it.
        seconds: Time it took; 0 where a complete set was left alone.
    """

    out: Path
    num_train: int
    num_val: int
    seconds: float


@dataclass(frozen=True)
class _Settings:
    """What the content of a set depends on."""

    num_train: int
    num_val: int
    image_size: tuple[int, int]
    seed: int
    num_rounds: int
    demo: str = 'driver'
    format: int = _FORMAT

    def recordings(self, root: Path) -> list[Recording]:
        """Two recordings per person; validation has persons of its own."""
        first_val = -(-self.num_train // 2)
        places = [i // 2 for i in range(self.num_train)] + [first_val + i // 2 for i in range(self.num_val)]
        environments = list(_LIGHTS)
        return [
            Recording(root, f'person_{person + 1:02d}', environments[(2 * person + number) % 4])
            for number, person in zip([*range(self.num_train), *range(self.num_val)], places, strict=True)
        ]


def make_demo(
    out_dir: str | Path,
    num_train: int = 12,
    num_val: int = 4,
    image_size: tuple[int, int] = (128, 128),
    seed: int = 0,
    *,
    num_workers: int = 0,
    force: bool = False,
    num_rounds: int = 2,
) -> Made:
    """Write videos, labels, keypoints, ``mini.json``, ``splits/fold_0_{train,val}.txt`` and ``preview.jpg``.

    It is made in ``<out_dir>.partial`` and renamed when it is complete, so a data root is whole or absent; a complete
    set of the same settings is left alone.

    Args:
        out_dir: The data root to make.
        num_train: Training recordings; two have the same person.
        num_val: Validation recordings, of other persons.
        image_size: Height and width of the videos; even, as their coding asks.
        seed: The same seed gives the same set.
        num_workers: Processes; 0 works in this one.
        force: Make a complete set anew.
        num_rounds: How often each action occurs in a recording.

    Returns:
        What was made.

    Raises:
        UserError: If a number is out of range, or the folder holds something else.
    """
    began = time.perf_counter()
    out = Path(out_dir)
    settings = _Settings(num_train, num_val, tuple(image_size), seed, num_rounds)
    if min(num_train, num_val, num_rounds) < 1 or seed < 0 or min(image_size) < 48 or any(n % 2 for n in image_size):
        raise UserError(
            f'{settings}: numbers of recordings and rounds must be at least 1, the seed at least 0, height and width '
            'even and at least 48.'
        )
    if _is_complete(out, settings, force):
        return Made(out, num_train, num_val, 0.0)
    import_av()  # before anything is deleted
    partial = out.with_name(out.name + '.partial')
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    recordings = settings.recordings(partial)
    jobs = [(recording, settings, number) for number, recording in enumerate(recordings)]
    if num_workers > 1:
        # Spawned, not forked: torch's threads are already running here.
        with multiprocessing.get_context('spawn').Pool(min(num_workers, len(jobs))) as pool:
            spans = pool.starmap(_write_recording, jobs)
    else:
        spans = [_write_recording(*job) for job in jobs]
    annotated: dict[str, dict] = {}
    for recording, (start, stop) in zip(recordings, spans, strict=True):
        span = dict(start=start, mid=(start + stop) // 2, end=stop)
        annotated.setdefault(recording.person, {})[recording.environment] = span
    (partial / 'mini.json').write_text(json.dumps(annotated, indent=1), encoding='utf-8')
    (partial / 'splits').mkdir()
    for split, part in dict(train=recordings[:num_train], val=recordings[num_train:]).items():
        names = ''.join(f'{recording.name}\n' for recording in part)
        (partial / 'splits' / f'fold_0_{split}.txt').write_text(names, encoding='utf-8')
    _write_preview(partial, settings)
    (partial / 'demo.json').write_text(_as_text(settings), encoding='utf-8')
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return Made(out, num_train, num_val, time.perf_counter() - began)


def _as_text(settings: _Settings) -> str:
    return json.dumps(asdict(settings))


def _is_complete(out: Path, settings: _Settings, force: bool) -> bool:
    """Tell whether the set is there; False where it may be written."""
    if not out.is_dir() or not any(out.iterdir()):
        if out.exists() and not out.is_dir():
            raise UserError(f'{out} is a file; choose another folder with --out.')
        return False
    marker = out / 'demo.json'
    try:
        found = json.loads(marker.read_text(encoding='utf-8'))
        known, older = found['demo'] == 'driver', found['format'] != _FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        known = older = False
    if not known:
        raise UserError(f'{out} holds something that this tool did not make; choose another folder with --out.')
    if force or older:
        return False
    if found != json.loads(_as_text(settings)):
        raise UserError(f'{out} holds a demo of other settings ({found}); --force replaces it, --out writes elsewhere.')
    return True


def _plan(num_rounds: int, rng: np.random.Generator) -> tuple[list[tuple[int, int, str]], int]:
    """Return the segments of a recording, in random order with short gaps, and its number of frames."""
    segments, place = [], 8
    for _ in range(num_rounds):
        for action in rng.permutation(DRIVER_ACTIONS):
            length = int(rng.integers(12, 21))
            segments.append((place, place + length, str(action)))
            place += length + int(rng.integers(0, 5))
    return segments, place + 8


def _write_recording(recording: Recording, settings: _Settings, number: int) -> tuple[int, int]:
    """Film one recording; returns the frames that were annotated."""
    cv2.setNumThreads(1)
    av = import_av()
    person = int(recording.person.removeprefix('person_'))
    driver = Driver.draw(np.random.default_rng((settings.seed, 1, person)))
    rng = np.random.default_rng((settings.seed, 2, number))
    segments, num_frames = _plan(settings.num_rounds, rng)
    angles = act(segments, num_frames, _RATE, rng)
    wheel = 0.15 * np.sin(np.arange(num_frames) / _RATE * 0.7 + rng.uniform(0, 6))
    light = _LIGHTS[recording.environment]
    folder = recording.keypoint_path(0).parent
    folder.mkdir(parents=True)
    recording.video_path('front').parent.mkdir(parents=True)
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
        points = pose_points(driver, *angles[frame], wheel[frame])
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
    recording.label_path.parent.mkdir(exist_ok=True)
    content = dict(annotations=[dict(videoLabels=labels)])
    recording.label_path.write_text(json.dumps(content), encoding='utf-8')
    return segments[0][0], segments[-1][1]


def _write_preview(root: Path, settings: _Settings) -> None:
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
    cv2.imwrite(str(root / 'preview.jpg'), np.concatenate(rows)[..., ::-1])
