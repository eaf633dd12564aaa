"""Write the demo data set to disk."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmopt.datasets.bev.demo.labels import draw_label
from mmopt.datasets.bev.demo.sheet import draw_sheet
from mmopt.datasets.common.demo_set import DemoKind, FilmSettings, Made, write_demo, write_demo_image
from mmopt.datasets.common.street import Camera, render, sample_world
from mmopt.datasets.common.street.camera import CAM_FRONT_SIZE

__all__ = ['make_demo', 'make_sample']

_FORMAT = 3  # raise it when the pictures or labels change: sets of an older format are made anew

# JPEG: 12 ms to write and 8 ms to read where PNG takes 90 and 25, and a tenth of the size; nuScenes itself is JPEG.
_JPEG_QUALITY = 92


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

    How it grows, is continued and replaced: :func:`~mmopt.datasets.common.demo_set.write_demo`.

    Args:
        out_dir: The data root to make.
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
    kind = DemoKind(_files, _write_one, _finish, ('calib.json',))
    settings = FilmSettings(num_train, num_val, seed, _FORMAT, image_size)
    return write_demo(kind, out_dir, settings, num_workers=num_workers, force=force, say=say)


def _files(root: Path, split: str, index: int) -> tuple[Path, Path]:
    token = f'{split}_{index:04d}'
    return root / 'img_dir' / split / f'{token}.jpg', root / 'ann_bev_dir' / split / f'{token}.png'


def _write_one(root: Path, split: str, index: int, settings: FilmSettings) -> None:
    image, label = make_sample(split, index, settings.seed, Camera(settings.image_size))
    image_path, label_path = _files(root, split, index)
    write_demo_image(image_path, image, _JPEG_QUALITY)
    write_demo_image(label_path, label)


def _finish(root: Path, settings: FilmSettings) -> None:
    matrix = Camera(settings.image_size).intrinsics_33.tolist()
    calibration = {_files(root, *sample)[0].stem: matrix for sample in settings.samples()}
    (root / 'calib.json').write_text(json.dumps(calibration))
    chosen = [_files(root, 'train', index) for index in range(min(settings.num_train, 8))]
    write_demo_image(root / 'preview.jpg', draw_sheet(chosen), 85)
