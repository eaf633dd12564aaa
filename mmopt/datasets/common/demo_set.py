"""Write a generated data set to disk: in parallel, restartable, the same bytes for any number of workers."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, TypeVar

import cv2
import numpy as np
from tqdm import tqdm

from mmopt.utils.errors import UserError

__all__ = ['MARKER_FILE', 'DemoKind', 'DemoSettings', 'FilmSettings', 'Made', 'write_demo', 'write_demo_image']

MARKER_FILE = 'demo.json'


@dataclass(frozen=True)
class DemoSettings:
    """What the content of a set depends on.

    Attributes:
        seed: Seed of everything.
        format: Version of what is written: sets of another one are made anew.
    """

    num_train: int
    num_val: int
    seed: int
    format: int

    def samples(self) -> list[tuple[str, int]]:
        """Return split and number of all samples."""
        return [('train', i) for i in range(self.num_train)] + [('val', i) for i in range(self.num_val)]

    def check(self) -> None:
        """Refuse what no set can be made of.

        Raises:
            UserError: If a number is out of range.
        """
        if self.num_train < 1 or self.num_val < 1:
            raise UserError(
                f'The demo needs at least 1 sample in each split, got num_train={self.num_train} and '
                f'num_val={self.num_val}.'
            )
        if self.seed < 0:
            raise UserError(f'The demo needs a seed of at least 0, got {self.seed}.')


@dataclass(frozen=True)
class FilmSettings(DemoSettings):
    """What the content of a set of pictures or videos depends on.

    Attributes:
        image_size: Height and width.
    """

    image_size: tuple[int, int]

    def check(self) -> None:
        super().check()
        if min(self.image_size) < 64:
            raise UserError(f'The demo needs images of at least 64x64 pixels, got image_size={self.image_size}.')


Settings = TypeVar('Settings', bound=DemoSettings)


@dataclass(frozen=True)
class Made:
    """What making a set did.

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


@dataclass(frozen=True)
class DemoKind(Generic[Settings]):
    """What a task's set consists of.

    Attributes:
        files: ``(root, split, index)`` to the files of a sample; the last one is written last, so it tells that the
            sample is finished.
        write_one: ``(root, split, index, settings)``: makes and writes one sample. A function of a module: it is
            sent to other processes.
        finish: ``(root, settings)``: writes what belongs to the set as a whole, once all samples are there.
        whole_set: Names of the files that ``finish`` writes and a complete set must have.
    """

    files: Callable[[Path, str, int], Sequence[Path]]
    write_one: Callable[[Path, str, int, Settings], None]
    finish: Callable[[Path, Settings], None]
    whole_set: tuple[str, ...] = ()


def write_demo(
    kind: DemoKind[Settings],
    out_dir: str | Path,
    settings: Settings,
    *,
    num_workers: int = 0,
    force: bool = False,
    say: Callable[[str], object] = print,
) -> Made:
    """Make a set.

    It grows in ``<out_dir>.partial`` and is renamed when it is complete, so a data root is whole or absent. A run that
    was stopped goes on where it stopped; a complete set of the same settings is left alone.

    Args:
        kind: What a set consists of.
        out_dir: The data root to make.
        settings: What its content depends on.
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
    settings.check()
    num_train, num_val = settings.num_train, settings.num_val
    out = Path(out_dir)
    if _is_complete(kind, out, settings, force):
        say(f'{out} is complete ({num_train} train + {num_val} val): left alone; --force makes it anew.')
        return Made(out, num_train, num_val, 0.0)
    partial = out.with_name(f'{out.name}.partial')
    if partial.is_dir() and _read_marker(partial) != _as_json(settings):
        shutil.rmtree(partial)
    for split in ('train', 'val'):
        for path in kind.files(partial, split, 0):
            path.parent.mkdir(parents=True, exist_ok=True)
    (partial / MARKER_FILE).write_text(json.dumps(_as_json(settings)))

    todo = [
        (split, index) for split, index in settings.samples() if not kind.files(partial, split, index)[-1].is_file()
    ]
    if len(todo) < num_train + num_val:
        say(f'{num_train + num_val - len(todo)} of {num_train + num_val} samples were made before the last stop.')
    _write_all(kind.write_one, partial, todo, settings, num_workers)
    kind.finish(partial, settings)
    if out.is_dir():
        shutil.rmtree(out)
    partial.rename(out)
    return Made(out, num_train, num_val, time.perf_counter() - started)


def _as_json(settings: DemoSettings) -> dict:
    # Through JSON, as it is read back: tuples become lists.
    return json.loads(json.dumps(asdict(settings)))


def _read_marker(folder: Path) -> dict | None:
    try:
        marker = json.loads((folder / MARKER_FILE).read_text())
    except (OSError, ValueError):
        return None
    return marker if isinstance(marker, dict) else None


def _is_complete(kind: DemoKind, out: Path, settings: DemoSettings, force: bool) -> bool:
    """Tell whether the set is there; False where it may be written."""
    if out.exists() and not out.is_dir():
        raise UserError(f'{out} is a file; choose another folder with --out.')
    if not out.is_dir() or not any(out.iterdir()):
        return False
    marker = _read_marker(out)
    if marker is None:
        raise UserError(f'{out} holds something that this tool did not make; choose another folder with --out.')
    if force or marker.get('format') != settings.format:
        return False
    wanted = _as_json(settings)
    if marker != wanted:
        changed = ', '.join(
            f'{key} {marker.get(key)} -> {wanted.get(key)}'
            for key in sorted({*wanted, *marker})
            if marker.get(key) != wanted.get(key)
        )
        raise UserError(
            f'{out} holds a demo of other settings ({changed}); --force replaces it, --out writes elsewhere.'
        )
    files = (path for sample in settings.samples() for path in kind.files(out, *sample))
    return all(path.is_file() for path in (*files, *(out / name for name in kind.whole_set)))


def write_demo_image(path: Path, image: np.ndarray, quality: int | None = None) -> None:
    """Write an image (RGB where it has colors) through a temporary name: a stopped run leaves no half file.

    Args:
        path: The file; its ending tells the format.
        image: uint8 or uint16, (H, W) or (H, W, 3).
        quality: Of a JPEG.
    """
    flags = [] if quality is None else [cv2.IMWRITE_JPEG_QUALITY, quality]
    if image.ndim == 3:
        image = image[..., ::-1]
    done, encoded = cv2.imencode(path.suffix, image, flags)
    assert done, path
    unfinished = path.with_name(f'.{path.name}')
    unfinished.write_bytes(encoded.tobytes())
    unfinished.replace(path)


def _start_worker() -> None:
    # Ctrl-C reaches the whole process group; the parent alone decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def _write_all(
    write_one: Callable, root: Path, todo: list[tuple[str, int]], settings: DemoSettings, num_workers: int
) -> None:
    with tqdm(total=len(todo), unit='image', desc='demo', disable=None if todo else True) as bar:
        if num_workers == 0 or len(todo) < 2:
            for split, index in todo:
                write_one(root, split, index, settings)
                bar.update()
            return
        # Forking a process in which torch has started threads can hang; OpenMP threads would fight over the cores.
        os.environ.setdefault('OMP_NUM_THREADS', '1')
        pool = ProcessPoolExecutor(
            min(num_workers, len(todo)), multiprocessing.get_context('spawn'), initializer=_start_worker
        )
        try:
            jobs = [pool.submit(write_one, root, split, index, settings) for split, index in todo]
            for job in as_completed(jobs):
                job.result()
                bar.update()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
