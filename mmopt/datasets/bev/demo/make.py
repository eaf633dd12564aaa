"""Write the demo data set to disk: in parallel, restartable, the same bytes for any number of workers."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from mmopt.datasets.bev.demo.camera import CAM_FRONT_SIZE, Camera
from mmopt.datasets.bev.demo.labels import draw_label
from mmopt.datasets.bev.demo.render import render, sample_world
from mmopt.datasets.bev.demo.sheet import draw_sheet
from mmopt.utils.errors import UserError

__all__ = ['MARKER_FILE', 'Made', 'make_demo', 'make_sample']

MARKER_FILE = 'demo.json'
_FORMAT = 2  # raise it when the pictures or labels change: sets of an older format are made anew

# JPEG: 12 ms to write and 8 ms to read where PNG takes 90 and 25, and a tenth of the size; nuScenes itself is JPEG.
_JPEG_QUALITY = 92


@dataclass(frozen=True)
class _Settings:
    """What the content of a set depends on."""

    num_train: int
    num_val: int
    image_size: tuple[int, int]
    seed: int
    format: int = _FORMAT

    def tokens(self) -> list[tuple[str, int]]:
        return [('train', i) for i in range(self.num_train)] + [('val', i) for i in range(self.num_val)]


@dataclass(frozen=True)
class Made:
    """What :func:`make_demo` did.

    Attributes:
        out: The data root.
        num_train: Training samples in it.
        num_val: Validation samples in it.
        seconds: Time it took; 0 where a complete set was left alone.
    """

    out: Path
    num_train: int
    num_val: int
    seconds: float


def make_sample(split: str, index: int, seed: int = 0, camera: Camera | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Make one sample, a function of its arguments alone.

    Args:
        split: ``'train'`` or ``'val'``.
        index: Number of the sample in its split.
        seed: Seed of the data set.
        camera: The camera; CAM_FRONT at 1600x900 unless given.

    Returns:
        Image, uint8 RGB (H, W, 3), and label image, uint16 (196, 200).
    """
    camera = camera or Camera()
    world = sample_world((seed, ('train', 'val').index(split), index))
    return render(camera, world), draw_label(camera, world.street, world.items)


def make_demo(
    out_dir: str | Path,
    num_train: int = 64,
    num_val: int = 16,
    image_size: tuple[int, int] = CAM_FRONT_SIZE,
    seed: int = 0,
    *,
    num_workers: int = 0,
    force: bool = False,
    say: Callable[[str], object] = print,
) -> Made:
    """Make the demo data set, in nuScenes' layout (see :mod:`mmopt.datasets.bev.nuscenes`).

    It grows in ``<out_dir>.partial`` and is renamed when it is complete, so a data root is whole or absent. A run that
    was stopped goes on where it stopped; a complete set of the same settings is left alone.

    Args:
        out_dir: The data root to make.
        num_train: Training samples.
        num_val: Validation samples.
        image_size: Height and width of the images; the camera matrix is scaled with it.
        seed: Seed of everything.
        num_workers: Processes; 0 works in this one.
        force: Make a complete set anew.
        say: Takes lines for the user.

    Returns:
        What was done.

    Raises:
        UserError: If a number is out of range, the folder holds something else, or a set of other settings without
            ``force``.
    """
    started = time.perf_counter()
    settings = _Settings(num_train, num_val, tuple(image_size), seed)
    _check(settings)
    out = Path(out_dir)
    if _is_complete(out, settings, force):
        say(f'{out} is complete ({num_train} train + {num_val} val): left alone; --force makes it anew.')
        return Made(out, num_train, num_val, 0.0)
    partial = out.with_name(f'{out.name}.partial')
    if partial.is_dir() and _read_marker(partial) != _as_json(settings):
        shutil.rmtree(partial)
    for split in ('train', 'val'):
        for kind in ('img_dir', 'ann_bev_dir'):
            (partial / kind / split).mkdir(parents=True, exist_ok=True)
    (partial / MARKER_FILE).write_text(json.dumps(_as_json(settings)))

    todo = [(split, index) for split, index in settings.tokens() if not _files(partial, split, index)[1].is_file()]
    if len(todo) < num_train + num_val:
        say(f'{num_train + num_val - len(todo)} of {num_train + num_val} samples were made before the last stop.')
    _write_all(partial, todo, settings, num_workers)
    matrix = Camera(settings.image_size).intrinsics_33.tolist()
    calibration = {_files(partial, *token)[0].stem: matrix for token in settings.tokens()}
    (partial / 'calib.json').write_text(json.dumps(calibration))
    if num_train:
        chosen = [_files(partial, 'train', index) for index in range(min(num_train, 8))]
        _write_image(partial / 'preview.jpg', draw_sheet(chosen), 85)
    if out.is_dir():
        shutil.rmtree(out)
    partial.rename(out)
    return Made(out, num_train, num_val, time.perf_counter() - started)


def _check(settings: _Settings) -> None:
    if settings.num_train < 1 or settings.num_val < 1:
        raise UserError(
            f'The demo needs at least 1 sample in each split, got num_train={settings.num_train} and '
            f'num_val={settings.num_val}.'
        )
    if min(settings.image_size) < 64:
        raise UserError(f'The demo needs images of at least 64x64 pixels, got image_size={settings.image_size}.')
    if settings.seed < 0:
        raise UserError(f'The demo needs a seed of at least 0, got {settings.seed}.')


def _as_json(settings: _Settings) -> dict:
    return asdict(settings) | dict(image_size=list(settings.image_size))


def _read_marker(folder: Path) -> dict | None:
    try:
        marker = json.loads((folder / MARKER_FILE).read_text())
    except (OSError, ValueError):
        return None
    return marker if isinstance(marker, dict) else None


def _is_complete(out: Path, settings: _Settings, force: bool) -> bool:
    """Tell whether the set is there; False where it may be written."""
    if out.exists() and not out.is_dir():
        raise UserError(f'{out} is a file; choose another folder with --out.')
    if not out.is_dir() or not any(out.iterdir()):
        return False
    marker = _read_marker(out)
    if marker is None:
        raise UserError(f'{out} holds something that this tool did not make; choose another folder with --out.')
    if force or marker.get('format') != _FORMAT:
        return False
    wanted = _as_json(settings)
    if marker != wanted:
        changed = ', '.join(
            f'{key} {marker.get(key)} -> {wanted[key]}' for key in wanted if marker.get(key) != wanted[key]
        )
        raise UserError(
            f'{out} holds a demo of other settings ({changed}); --force replaces it, --out writes elsewhere.'
        )
    return (
        all(path.is_file() for token in settings.tokens() for path in _files(out, *token))
        and (out / 'calib.json').is_file()
    )


def _files(root: Path, split: str, index: int) -> tuple[Path, Path]:
    """Image and label of a sample; the label is written last, so it tells that the sample is finished."""
    token = f'{split}_{index:04d}'
    return root / 'img_dir' / split / f'{token}.jpg', root / 'ann_bev_dir' / split / f'{token}.png'


def _write_image(path: Path, image: np.ndarray, quality: int | None = None) -> None:
    """Write through a temporary name: a stopped run leaves no half file under a final one."""
    flags = [] if quality is None else [cv2.IMWRITE_JPEG_QUALITY, quality]
    if image.ndim == 3:
        image = image[..., ::-1]
    done, encoded = cv2.imencode(path.suffix, image, flags)
    assert done, path
    unfinished = path.with_name(f'.{path.name}')
    unfinished.write_bytes(encoded.tobytes())
    unfinished.replace(path)


def _write_one(root: Path, split: str, index: int, settings: _Settings) -> None:
    image, label = make_sample(split, index, settings.seed, Camera(settings.image_size))
    image_path, label_path = _files(root, split, index)
    _write_image(image_path, image, _JPEG_QUALITY)
    _write_image(label_path, label)


def _start_worker() -> None:
    # Ctrl-C reaches the whole process group; the parent alone decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def _write_all(root: Path, todo: list[tuple[str, int]], settings: _Settings, num_workers: int) -> None:
    with tqdm(total=len(todo), unit='image', desc='demo', disable=None if todo else True) as bar:
        if num_workers == 0 or len(todo) < 2:
            for split, index in todo:
                _write_one(root, split, index, settings)
                bar.update()
            return
        # Forking a process in which torch has started threads can hang; OpenMP threads would fight over the cores.
        os.environ.setdefault('OMP_NUM_THREADS', '1')
        pool = ProcessPoolExecutor(
            min(num_workers, len(todo)), multiprocessing.get_context('spawn'), initializer=_start_worker
        )
        try:
            jobs = [pool.submit(_write_one, root, split, index, settings) for split, index in todo]
            for job in as_completed(jobs):
                job.result()
                bar.update()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
