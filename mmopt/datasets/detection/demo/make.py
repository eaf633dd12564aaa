"""Write the demo in FRED's raw layout and convert it as FRED is converted."""

import json
import shutil
import time
from pathlib import Path

import cv2
import numpy as np

from mmopt.datasets.common.decode import decode_file
from mmopt.datasets.common.demo_set import Made
from mmopt.datasets.common.pictures import contact_sheet
from mmopt.datasets.detection.demo.scene import Scene, event_frame
from mmopt.datasets.detection.prepare.fred import FredOptions, prepare_fred
from mmopt.utils.errors import DataError
from mmopt.utils.parallel import run_jobs

__all__ = ['Made', 'make_demo']

_FRAMES = 8
"""Frames per sequence; every third of the camera's, so that they differ."""
_STEP = 3


def make_demo(
    out_dir: str | Path,
    num_train: int = 320,
    num_val: int = 80,
    image_size: tuple[int, int] = (360, 640),
    seed: int = 0,
    *,
    num_workers: int = 0,
    force: bool = False,
) -> Made:
    """Render sequences of eight frames for two cameras, and write the jsons.

    The set is made in ``<out_dir>.partial`` and renamed when it is complete, so a data root is whole or absent; a
    complete set of the same settings is left alone.

    Args:
        out_dir: The data root to make.
        num_train: Training images of each modality, rounded up to whole sequences.
        num_val: Validation images, likewise.
        image_size: Height and width.
        seed: The same seed gives the same files.
        num_workers: Processes; 0 works in this one.
        force: Make a complete set anew.

    Returns:
        What was made.

    Raises:
        DataError: If the folder exists and is not a demo of these settings.
    """
    began = time.perf_counter()
    out_dir = Path(out_dir)
    counts = dict(train=-(-num_train // _FRAMES), val=-(-num_val // _FRAMES))
    settings = json.dumps(dict(demo='fred', version=1, **counts, image_size=list(image_size), seed=seed))
    marker = out_dir / 'demo.json'
    known = marker.read_text(encoding='utf-8') if marker.is_file() else None
    made = counts['train'] * _FRAMES, counts['val'] * _FRAMES
    if known == settings and not force:
        return Made(out_dir, *made, 0.0)
    if known is None and out_dir.is_dir() and any(out_dir.iterdir()):
        raise DataError(f'{out_dir} exists and is no demo: choose another folder with --out.')
    if known is not None and known != settings and not force:
        raise DataError(f'{out_dir} holds a demo of other settings ({known}): add --force or choose another --out.')
    partial = out_dir.with_name(out_dir.name + '.partial')
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    names = [str(number) for number in range(sum(counts.values()))]
    jobs = [(partial, name, tuple(image_size), seed) for name in names]
    for _ in run_jobs(_write_sequence, jobs, num_workers, unit='sequence', desc='drones'):
        pass
    splits = dict(train=names[: counts['train']], val=names[counts['train'] :], test=[])
    (partial / 'splits.json').write_text(json.dumps(splits), encoding='utf-8')
    options = FredOptions(partial, split_file=partial / 'splits.json', keep_unlabelled=True)
    prepare_fred(options, say=lambda text: None)
    _write_preview(partial, splits)
    (partial / 'demo.json').write_text(settings, encoding='utf-8')
    shutil.rmtree(out_dir, ignore_errors=True)
    partial.rename(out_dir)
    return Made(out_dir, *made, time.perf_counter() - began)


def _write_sequence(root: Path, name: str, size: tuple[int, int], seed: int) -> str:
    rng = np.random.default_rng((seed, int(name)))
    scene = Scene(rng, size, _FRAMES * _STEP)
    rgb, event = root / name / 'PADDED_RGB', root / name / 'Event' / 'Frames'
    for folder in (rgb, event):
        folder.mkdir(parents=True)
    lines = []
    for number in range(_FRAMES):
        before, _ = scene.render(number * _STEP - 1)
        now, boxes = scene.render(number * _STEP)
        microseconds = round(number * _STEP * 1e6 / 30)
        noisy = (now + rng.normal(0, 3, now.shape)).clip(0, 255).astype(np.uint8)
        _write(rgb / f'Video_{name}_12_00_{microseconds // 10**6:02d}.{microseconds % 10**6:06d}.jpg', noisy)
        _write(event / f'Video_{name}_frame_{microseconds}.png', event_frame(before, now, rng))
        lines += [f'{microseconds / 1e6}: {", ".join(map(str, box))}, {track}' for *box, track in boxes]
    (root / name / 'coordinates.txt').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return name


def _write(path: Path, image_HW3: np.ndarray) -> None:
    if not cv2.imwrite(str(path), image_HW3[..., ::-1]):
        raise DataError(f'{path}: cannot be written; is the disk full?')


def _write_preview(root: Path, splits: dict[str, list[str]]) -> None:
    pictures = []
    for name in (splits['train'] + splits['val'])[:4]:
        lines = (root / name / 'coordinates.txt').read_text(encoding='utf-8').splitlines()
        boxes = [line.split(':')[1].split(',')[:4] for line in lines if line.startswith('0.0:')]
        views = []
        for folder in ('PADDED_RGB', 'Event/Frames'):
            first = min((root / name / folder).iterdir(), key=lambda path: (len(path.name), path.name))
            view = decode_file(str(first), cv2.IMREAD_COLOR)
            for box in boxes:
                x1, y1, x2, y2 = (round(float(value)) for value in box)
                cv2.rectangle(view, (x1, y1), (x2, y2), (90, 220, 90), 1)
            views.append(view[..., ::-1])
        pictures.append(np.concatenate(views, axis=1))
    cv2.imwrite(str(root / 'preview.jpg'), contact_sheet(pictures, num_columns=1, max_width=1600)[..., ::-1])
