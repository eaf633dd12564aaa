"""Which cells of the map count: those inside the camera's field of view that nothing hides.

Field of view (PON's rule): the cell's point projects between the left and the right border of the image, whatever its
height.

Occlusion in LiDAR (PON's rule): the plane around the camera is cut into rays of equal width in x / z (0.25 m at 50 m).
A cell is seen if some return of the sweep, at any height, lies on the cell's ray at least as far away (in z) as the
cell. So a car hides little if the LiDAR looks over it, a house hides everything behind it, and a ray without any return
is not seen at all.

Occlusion by boxes, where there is no LiDAR: a cell is seen if the sight line from the camera to the highest thing that
stands on it (the top of an object, or else the ground) passes no box but those that cover the cell itself.

Shape letters: P points; Z, X rows and columns of the grid. Camera frame: x right, y down, z forward, meters.
"""

from pathlib import Path

import numpy as np

from mmopt.datasets.bev.prepare.rasterize import CELL_M, GRID_SHAPE, X_MIN_M, footprints, grid_points, ground_height
from mmopt.datasets.bev.prepare.views import View, transform
from mmopt.utils.errors import DataError, DataNotFoundError

__all__ = ['hidden_behind_boxes', 'hidden_in_lidar', 'in_field_of_view', 'load_sweep']

_FAR_M = 50.0
_RAY = CELL_M / _FAR_M
_NUM_RAYS = round(-2 * X_MIN_M / _RAY)


def in_field_of_view(intrinsics_33: np.ndarray, width: int) -> np.ndarray:
    """Tell which cells lie between the image's left and right border.

    Args:
        width: Width of the image in pixels.

    Returns:
        bool (Z, X).
    """
    x_ZX, z_ZX = np.moveaxis(grid_points(), -1, 0)
    columns_ZX = intrinsics_33[0, 0] * x_ZX / z_ZX + intrinsics_33[0, 2]
    return (columns_ZX >= 0) & (columns_ZX < width)


def _ray_index(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.round((x / z - X_MIN_M) / _RAY)


def hidden_in_lidar(points_P3: np.ndarray) -> np.ndarray:
    """Tell which cells lie behind the farthest LiDAR return of their ray.

    Args:
        points_P3: The sweep in the camera's frame.

    Returns:
        bool (Z, X).
    """
    x_P, _, z_P = points_P3[points_P3[:, 2] > 0].T
    ray_P = _ray_index(x_P, z_P)
    on_grid = (ray_P >= 0) & (ray_P < _NUM_RAYS)
    reach = np.zeros(_NUM_RAYS)
    np.maximum.at(reach, ray_P[on_grid].astype(np.int64), z_P[on_grid])
    x_ZX, z_ZX = np.moveaxis(grid_points(), -1, 0)
    return reach[_ray_index(x_ZX, z_ZX).astype(np.int64)] < z_ZX


def hidden_behind_boxes(view: View) -> np.ndarray:
    """Tell which cells are hidden by nearer boxes.

    Returns:
        bool (Z, X).
    """
    boxes, covered = view.boxes, dict(footprints(view))
    world_to_camera_44 = np.linalg.inv(view.camera_to_world_44)
    top_y_N = transform(world_to_camera_44, boxes.corners_N83())[..., 1].min(axis=1, initial=np.inf)
    x_ZX, z_ZX = np.moveaxis(grid_points(), -1, 0)
    slope_x, slope_z, offset = ground_height(view)
    y_ZX = slope_x * x_ZX + slope_z * z_ZX + offset
    for index, mask_ZX in covered.items():
        y_ZX[mask_ZX] = np.minimum(y_ZX[mask_ZX], top_y_N[index])
    targets_ZX3 = transform(view.camera_to_world_44, np.stack([x_ZX, y_ZX, z_ZX], axis=-1))

    camera_3 = view.camera_to_world_44[:3, 3]
    hidden_ZX = np.zeros(GRID_SHAPE, bool)
    for index in range(len(boxes)):
        crossed_ZX = _crosses_box(
            camera_3, targets_ZX3, boxes.centers_N3[index], boxes.sizes_N3[index], boxes.rotations_N33[index]
        )
        hidden_ZX |= crossed_ZX & ~covered[index] if index in covered else crossed_ZX
    return hidden_ZX


def _crosses_box(
    start_3: np.ndarray, ends: np.ndarray, center_3: np.ndarray, size_3: np.ndarray, rotation_33: np.ndarray
) -> np.ndarray:
    """Tell which segments from ``start_3`` to ``ends`` (..., 3) cross a box: the slab test in the box's own axes."""
    origin_3 = (start_3 - center_3) @ rotation_33
    direction = (ends - start_3) @ rotation_33
    with np.errstate(divide='ignore', invalid='ignore'):
        first, second = ((side * size_3 / 2 - origin_3) / direction for side in (-1, 1))
    # A segment along a slab has 0 / 0 or +-inf: fmin and fmax leave the NaN of a start on the border aside.
    enters = np.fmin(first, second).max(axis=-1)
    leaves = np.fmax(first, second).min(axis=-1)
    return (enters <= leaves) & (leaves >= 0) & (enters <= 1)


def load_sweep(path: Path) -> np.ndarray:
    """Read a LiDAR sweep in nuScenes' format.

    Args:
        path: ``*.pcd.bin``: float32 records of x, y, z, intensity, ring.

    Returns:
        float64 (P, 3), meters, in the LiDAR's frame.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If its size is not a multiple of a record's.
    """
    try:
        numbers = np.fromfile(path, np.float32)
    except FileNotFoundError as error:
        raise DataNotFoundError(
            f'{path}: no such LiDAR sweep. Download the LiDAR blobs, or pass --occlusion boxes.'
        ) from error
    if len(numbers) % 5 or path.stat().st_size % 4:
        raise DataError(
            f'{path}: {path.stat().st_size} bytes are no whole number of points (5 float32 each). Download it again.'
        )
    return numbers.reshape(-1, 5)[:, :3].astype(np.float64)
