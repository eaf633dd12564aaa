"""Views of one key frame: a folder of images with ``keyframe.json`` and a raster of the drivable area.

The file gives poses (``ego2global``, ``lidar2ego``, per camera ``cam2img`` and ``lidar2cam``), boxes in the LiDAR's
frame (``center_lwh_yaw_lidar``: geometric center, length, width, height, yaw; ``category`` is a class name, or null for
an object of no class), and where the raster lies in the world. Crossings, walkways and car parks are not in it: their
maps are empty.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from mmopt.datasets.bev.prepare.rasterize import GRID_SHAPE, grid_points, grid_to_world
from mmopt.datasets.bev.prepare.views import CLASSES, GROUND_CLASSES, IGNORE, Boxes, View, numbers, transform
from mmopt.utils.errors import DataError, DataNotFoundError

__all__ = ['KEYFRAME_FILE', 'RasterGround', 'keyframe_views']

KEYFRAME_FILE = 'keyframe.json'


@dataclass(frozen=True)
class RasterGround:
    """Drivable area from an image, north up.

    Args:
        path: 8-bit gray image, non-zero where drivable.
        x0: World x of column 0.
        y0: World y of row 0; y falls with the row.
        resolution_m: Meters per pixel.
    """

    path: Path
    x0: float
    y0: float
    resolution_m: float

    def masks(self, world_to_grid_23: np.ndarray) -> np.ndarray:
        """Sample the raster at each cell's point; outside of it nothing is drivable."""
        raster = _read_raster(self.path)
        world_ZX2 = transform(grid_to_world(world_to_grid_23), grid_points())
        columns_ZX = np.round((world_ZX2[..., 0] - self.x0) / self.resolution_m).astype(np.int64)
        rows_ZX = np.round((self.y0 - world_ZX2[..., 1]) / self.resolution_m).astype(np.int64)
        inside_ZX = (rows_ZX >= 0) & (rows_ZX < raster.shape[0]) & (columns_ZX >= 0) & (columns_ZX < raster.shape[1])
        masks_GZX = np.zeros((len(GROUND_CLASSES), *GRID_SHAPE), bool)
        masks_GZX[0, inside_ZX] = raster[rows_ZX[inside_ZX], columns_ZX[inside_ZX]] > 0
        return masks_GZX


@cache
def _read_raster(path: Path) -> np.ndarray:
    raster = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if raster is None:
        raise DataError(f'{path}: the raster of the drivable area is missing or not readable as an image.')
    return raster


def keyframe_views(folder: Path, cameras: Sequence[str] | None, splits: tuple[str, ...]) -> list[View]:
    """List the views of a key frame.

    Args:
        folder: Folder that holds ``keyframe.json``.
        cameras: Names of the cameras; None for all of them.
        splits: Splits that each view is written to.

    Returns:
        One view per camera; its name is the folder's, an underscore and the camera's.

    Raises:
        DataNotFoundError: If a file is missing.
        DataError: If ``keyframe.json`` lacks a key, or has a category or shape that cannot be.
    """
    path = folder / KEYFRAME_FILE
    try:
        keyframe = json.loads(path.read_text(encoding='utf-8'))
        chosen = _choose(path, keyframe['cameras'], cameras)
        lidar_to_world_44 = _matrix(keyframe['ego2global']) @ _matrix(keyframe['lidar2ego'])
        boxes = _boxes(path, keyframe['boxes'], lidar_to_world_44)
        raster = keyframe['drivable']
        ground = RasterGround(folder / raster['file'], raster['x0'], raster['y0'], raster['resolution_m_per_px'])
        views = [
            View(
                name=f'{folder.resolve().name}_{name}',
                splits=splits,
                image=folder / chosen[name]['file'],
                size=(chosen[name]['width'], chosen[name]['height']),
                intrinsics_33=_matrix(chosen[name]['cam2img'], 3),
                # Through the LiDAR, not through cam2ego: only lidar2cam knows how far the car went between the two.
                camera_to_world_44=lidar_to_world_44 @ np.linalg.inv(_matrix(chosen[name]['lidar2cam'])),
                ego_to_world_44=_matrix(keyframe['ego2global']),
                boxes=boxes,
                ground=ground,
            )
            for name in chosen
        ]
    except FileNotFoundError as error:
        raise DataNotFoundError(f'{path}: no such file; a key frame is a folder that holds it.') from error
    except KeyError as error:
        raise DataError(f'{path}: the key {error} is missing.') from error
    except json.JSONDecodeError as error:
        raise DataError(f'{path}: not readable as JSON: {error}.') from error
    for needed in [ground.path, *(view.image for view in views)]:
        if not needed.is_file():
            raise DataNotFoundError(f'{needed}: no such file, but {path} names it.')
    return views


def _choose(path: Path, known: dict[str, dict], cameras: Sequence[str] | None) -> dict[str, dict]:
    for name in cameras or ():
        if name not in known:
            raise DataError(f'{path}: no camera {name!r}; it has {", ".join(known)}.')
    return {name: known[name] for name in cameras or known}


def _matrix(rows: list, size: int = 4) -> np.ndarray:
    try:
        matrix = numbers(rows, size, size)
        if not np.linalg.det(matrix):
            raise ValueError(f'{rows} cannot be inverted')
    except ValueError as error:
        raise DataError(f'{KEYFRAME_FILE}: a pose or camera matrix: {error}.') from error
    return matrix


def _boxes(path: Path, records: list[dict], lidar_to_world_44: np.ndarray) -> Boxes:
    known = CLASSES[len(GROUND_CLASSES) :]
    for record in records:
        if record['category'] is not None and record['category'] not in known:
            raise DataError(
                f'{path}: unknown category {record["category"]!r}; known: {", ".join(known)}, and null for no class.'
            )
    for number, record in enumerate(records):
        try:
            if (numbers(record['center_lwh_yaw_lidar'], 7)[3:6] <= 0).any():
                raise ValueError(f'{record["center_lwh_yaw_lidar"]}: a size is not positive')
        except ValueError as error:
            raise DataError(f'{path}: box {number}: {error}.') from error
    numbers_N7 = np.array([record['center_lwh_yaw_lidar'] for record in records], np.float64).reshape(-1, 7)
    cos_N, sin_N = np.cos(numbers_N7[:, 6]), np.sin(numbers_N7[:, 6])
    to_lidar_N33 = np.zeros((len(records), 3, 3))
    to_lidar_N33[:, 0, 0], to_lidar_N33[:, 0, 1] = cos_N, -sin_N
    to_lidar_N33[:, 1, 0], to_lidar_N33[:, 1, 1] = sin_N, cos_N
    to_lidar_N33[:, 2, 2] = 1
    return Boxes(
        centers_N3=transform(lidar_to_world_44, numbers_N7[:, :3]),
        sizes_N3=numbers_N7[:, 3:6],
        rotations_N33=lidar_to_world_44[:3, :3] @ to_lidar_N33,
        classes_N=np.array(
            [IGNORE if r['category'] is None else CLASSES.index(r['category']) for r in records], np.int64
        ),
    )
