"""From polygons and boxes to maps in the camera's frame.

The grid is that of PON (Roddick and Cipolla, "Predicting Semantic Map Representations from Images using Pyramid
Occupancy Networks", CVPR 2020, https://arxiv.org/abs/2003.13402), which DiffBEV follows: x in [-25, 25) m to the
right, z in [1, 50) m forward, 0.25 m per cell. Cell (row, column) stands for the point z = 1 + 0.25 row,
x = -25 + 0.25 column; vertices are rounded to the nearest such point and outlines belong to their polygon, so that
small objects (a cone has 0.3 m) never fall between the points.

Deviation from PON: a hole in one polygon does not erase what another polygon of the same layer covers there.

Shape letters: V vertices; Z, X rows and columns of the grid. Points of the grid are (x, z) in meters.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from mmopt.datasets.bev.prepare.views import View, transform

__all__ = ['CELL_M', 'GRID_SHAPE', 'X_MIN_M', 'Z_MIN_M', 'fill_polygon', 'footprints', 'ground_height', 'grid_points',
           'grid_to_world', 'world_to_grid']  # fmt: skip

X_MIN_M, Z_MIN_M, CELL_M = -25.0, 1.0, 0.25
GRID_SHAPE = (196, 200)


def grid_points() -> np.ndarray:
    """Return the points (x, z) of all cells, (Z, X, 2)."""
    rows, columns = np.indices(GRID_SHAPE)
    return np.stack([X_MIN_M + CELL_M * columns, Z_MIN_M + CELL_M * rows], axis=-1)


def _ego_to_camera(view: View) -> np.ndarray:
    return np.linalg.inv(view.camera_to_world_44) @ view.ego_to_world_44


def world_to_grid(view: View) -> np.ndarray:
    """Return the affine map (2, 3) from world (x, y) of a point on the ground to the camera's (x, z).

    The ground is the plane on which the car stands (z = 0 in the ego frame), tilted with it: maps have no heights.
    """
    ego_to_world_23 = view.ego_to_world_44[:2, [0, 1, 3]]
    ego_to_grid_23 = _ego_to_camera(view)[[0, 2]][:, [0, 1, 3]]
    linear_22 = ego_to_grid_23[:, :2] @ np.linalg.inv(ego_to_world_23[:, :2])
    return np.column_stack([linear_22, ego_to_grid_23[:, 2] - linear_22 @ ego_to_world_23[:, 2]])


def grid_to_world(world_to_grid_23: np.ndarray) -> np.ndarray:
    """Invert :func:`world_to_grid`'s map."""
    inverse_22 = np.linalg.inv(world_to_grid_23[:, :2])
    return np.column_stack([inverse_22, -inverse_22 @ world_to_grid_23[:, 2]])


def ground_height(view: View) -> np.ndarray:
    """Return (a, b, c) such that the ground below (x, z) is at y = a x + b z + c in the camera's frame (y down)."""
    ego_to_camera_44 = _ego_to_camera(view)
    ego_to_grid_23 = ego_to_camera_44[[0, 2]][:, [0, 1, 3]]
    slope_2 = ego_to_camera_44[1, :2] @ np.linalg.inv(ego_to_grid_23[:, :2])
    return np.append(slope_2, ego_to_camera_44[1, 3] - slope_2 @ ego_to_grid_23[:, 2])


def fill_polygon(mask_ZX: np.ndarray, outline_V2: np.ndarray, holes: Sequence[np.ndarray] = ()) -> None:
    """Set the cells of a polygon, in place.

    Args:
        mask_ZX: bool.
        outline_V2: Vertices (x, z).
        holes: Outlines of holes; their own outline is part of the hole.
    """
    painted_ZX = np.zeros(mask_ZX.shape, np.uint8)
    for ring_V2, value in [(outline_V2, 1), *((hole, 0) for hole in holes)]:
        cells_V2 = np.round((np.asarray(ring_V2) - (X_MIN_M, Z_MIN_M)) / CELL_M).astype(np.int32)
        cv2.fillPoly(painted_ZX, [cells_V2], value)
    mask_ZX |= painted_ZX.astype(bool)


def footprints(view: View) -> list[tuple[int, np.ndarray]]:
    """Rasterize what each box covers.

    Returns:
        (index of the box, bool map (Z, X)) for each box that touches the grid.
    """
    world_to_camera_44 = np.linalg.inv(view.camera_to_world_44)
    covered = []
    for index, corners_43 in enumerate(transform(world_to_camera_44, view.boxes.corners_N83()[:, :4])):
        mask_ZX = np.zeros(GRID_SHAPE, bool)
        fill_polygon(mask_ZX, corners_43[:, [0, 2]])
        if mask_ZX.any():
            covered.append((index, mask_ZX))
    return covered
