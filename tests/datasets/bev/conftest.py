"""A tiny nuScenes folder, written anew for each test that asks for it."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

K = [[1266.417, 0.0, 816.267], [0.0, 1266.417, 491.507], [0.0, 0.0, 1.0]]


def smooth_image(seed: int, height: int = 900, width: int = 1600) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 16, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def label(seed: int) -> np.ndarray:
    bits = np.zeros((196, 200), np.uint16)
    bits[:, 80:120] |= 1  # drivable area
    bits[40 + seed : 58 + seed, 90:98] |= 1 << 4  # a car
    bits[:20] |= 1 << 14  # ignored
    return bits


def stop_workers(batches: Iterator) -> None:
    """Stop the workers of a loader that raised; left to the garbage collector, each takes 5 s of a later test."""
    if hasattr(batches, '_shutdown_workers'):
        batches._shutdown_workers()


def write_nuscenes(root: Path, num: int, suffix: str = '.jpg', splits: Sequence[str] = ('train',)) -> Path:
    for split in splits:
        images, labels = root / 'img_dir' / split, root / 'ann_bev_dir' / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for index in range(num):
            cv2.imwrite(str(images / f'token{index}{suffix}'), smooth_image(index))
            cv2.imwrite(str(labels / f'token{index}.png'), label(index))
    (root / 'calib.json').write_text(json.dumps({f'token{index}': K for index in range(num)}))
    return root


@pytest.fixture
def make_nuscenes(tmp_path):
    """Return a function that writes ``num`` samples and gives the data root."""

    def _make(num: int = 3, suffix: str = '.jpg') -> Path:
        return write_nuscenes(tmp_path / 'nuscenes', num, suffix)

    return _make
