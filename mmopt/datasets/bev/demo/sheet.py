"""A contact sheet of demo samples: camera images with their label maps."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mmopt.datasets.bev.nuscenes import NuScenesBEVDataset
from mmopt.datasets.bev.pictures import draw_bev_map
from mmopt.datasets.common.decode import decode_file

__all__ = ['draw_sheet']

_NUM_CLASSES = len(NuScenesBEVDataset.METAINFO['classes'])
_GAP = 6


def draw_sheet(files: Sequence[tuple[Path, Path]], num_columns: int = 2, height: int = 180) -> np.ndarray:
    """Draw samples as they lie on disk.

    Args:
        files: Image and label of each sample.
        num_columns: Samples per row.
        height: Of one sample, in pixels.

    Returns:
        uint8 RGB.
    """
    tiles = [_draw_tile(*paths, height) for paths in files]
    num_columns = min(num_columns, len(tiles))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % num_columns)
    padded = [np.pad(tile, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255) for tile in tiles]
    rows = [np.hstack(padded[start : start + num_columns]) for start in range(0, len(tiles), num_columns)]
    return np.vstack(rows)[:-_GAP, :-_GAP]


def _draw_tile(image_path: Path, label_path: Path, height: int) -> np.ndarray:
    image = decode_file(str(image_path), cv2.IMREAD_COLOR)[..., ::-1]
    bits_ZX = decode_file(str(label_path), cv2.IMREAD_UNCHANGED)
    maps = (bits_ZX >> np.arange(_NUM_CLASSES + 1)[:, None, None] & 1).astype(bool)
    bev = draw_bev_map(maps[:-1], ~maps[-1], NuScenesBEVDataset.METAINFO['palette'])
    width = round(height * image.shape[1] / image.shape[0])
    return np.hstack(
        [
            cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA),
            cv2.resize(bev, (round(height * bev.shape[1] / bev.shape[0]), height), interpolation=cv2.INTER_AREA),
        ]
    )
