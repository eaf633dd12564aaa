"""Write the demo data set to disk, in Cityscapes' layout."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from mmopt.datasets.common.decode import decode_file
from mmopt.datasets.common.demo_set import DemoKind, FilmSettings, Made, write_demo, write_demo_image
from mmopt.datasets.common.pictures import contact_sheet
from mmopt.datasets.common.street import Camera, render, sample_world
from mmopt.datasets.segmentation.cityscapes import CITYSCAPES_CLASSES, CITYSCAPES_PALETTE, LABEL_ID_TO_TRAIN_ID
from mmopt.datasets.segmentation.demo.labels import draw_label_ids
from mmopt.datasets.segmentation.image_mask import label_table
from mmopt.datasets.segmentation.pictures import tint

__all__ = ['make_demo', 'make_sample']

_FORMAT = 2  # raise it when the pictures or labels change: sets of an older format are made anew
_CITY = 'demo'


def make_sample(split: str, index: int, seed: int, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Make one sample, a function of its arguments alone.

    Args:
        split: ``'train'`` or ``'val'``.
        index: Number of the sample in its split.
        seed: Seed of the data set.

    Returns:
        Image, uint8 RGB (H, W, 3), and Cityscapes' label ids, uint8 (H, W).
    """
    world = sample_world((seed, ('train', 'val').index(split), index))
    return render(camera, world), draw_label_ids(camera, world)


def make_demo(
    out_dir: str | Path,
    num_train: int = 256,
    num_val: int = 32,
    image_size: tuple[int, int] = (216, 384),
    seed: int = 0,
    *,
    num_workers: int = 0,
    force: bool = False,
    say: Callable[[str], object] = print,
) -> Made:
    """Make the demo data set: the street world, photographed and labeled pixel by pixel, as city ``demo``.

    14 of the 19 classes occur; wall, fence, traffic light, traffic sign and train do not. How a set grows, is continued
    and replaced: :func:`~mmopt.datasets.common.demo_set.write_demo`.

    Args:
        out_dir: The data root to make.
        image_size: Height and width of the images.
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
    settings = FilmSettings(num_train, num_val, seed, _FORMAT, image_size)
    return write_demo(
        DemoKind(_files, _write_one, _finish), out_dir, settings, num_workers=num_workers, force=force, say=say
    )


def _files(root: Path, split: str, index: int) -> tuple[Path, Path]:
    stem = f'{_CITY}_000000_{index:06d}'
    return (
        root / 'leftImg8bit' / split / _CITY / f'{stem}_leftImg8bit.png',
        root / 'gtFine' / split / _CITY / f'{stem}_gtFine_labelIds.png',
    )


def _write_one(root: Path, split: str, index: int, settings: FilmSettings) -> None:
    image, label = make_sample(split, index, settings.seed, Camera(settings.image_size))
    image_path, label_path = _files(root, split, index)
    write_demo_image(image_path, image)
    write_demo_image(label_path, label)


def _finish(root: Path, settings: FilmSettings) -> None:
    table = label_table(len(CITYSCAPES_CLASSES), LABEL_ID_TO_TRAIN_ID)
    tiles = []
    for index in range(min(settings.num_train, 8)):
        image_path, label_path = _files(root, 'train', index)
        image = np.ascontiguousarray(decode_file(str(image_path), cv2.IMREAD_COLOR)[..., ::-1])
        label = cv2.LUT(decode_file(str(label_path), cv2.IMREAD_UNCHANGED), table)
        tiles.append(np.hstack([image, tint(image, label, CITYSCAPES_PALETTE)]))
    write_demo_image(root / 'preview.jpg', contact_sheet(tiles), 88)
