"""A picture by which people see whether a label is right: what is on disk, laid back over the camera image.

The map is projected onto the ground plane under the car, so it bends away from the road on slopes; outlines of the
boxes are drawn in full. Beside the image stands the map itself.
"""

import cv2
import numpy as np

from mmopt.datasets.bev.nuscenes import NuScenesBEVDataset
from mmopt.datasets.bev.pictures import draw_bev_sample
from mmopt.datasets.bev.prepare.rasterize import CELL_M, GRID_SHAPE, X_MIN_M, Z_MIN_M, ground_height
from mmopt.datasets.bev.prepare.views import CLASSES, IGNORE, View, transform

__all__ = ['draw_preview', 'overlay']

# The data set's gray of the drivable area would not be seen on asphalt.
_PALETTE = ((170, 220, 60), *NuScenesBEVDataset.METAINFO['palette'][1:])
_NO_CLASS = (230, 230, 230)
_NEAR_M = 0.1
_EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))


def draw_preview(view: View, image_HW3: np.ndarray, bits_ZX: np.ndarray) -> np.ndarray:
    """Draw the image with its label and boxes on it, and the label as a map.

    Args:
        view: Pose, camera matrix and boxes of the image.
        image_HW3: The image, uint8 RGB.
        bits_ZX: Its label as on disk.

    Returns:
        uint8 RGB.
    """
    maps_CZX = (bits_ZX >> np.arange(IGNORE)[:, None, None] & 1).astype(bool)
    valid_ZX = bits_ZX >> IGNORE & 1 == 0
    picture = overlay(view, image_HW3, maps_CZX, valid_ZX)
    return draw_bev_sample(picture, maps_CZX, valid_ZX, title=view.name, classes=CLASSES, palette=_PALETTE)


def overlay(view: View, image_HW3: np.ndarray, maps_CZX: np.ndarray, valid_ZX: np.ndarray) -> np.ndarray:
    """Color each pixel of the ground by its cell, darken cells that do not count, and draw the boxes' edges.

    Args:
        view: Pose, camera matrix and boxes of the image.
        image_HW3: The image, uint8 RGB.
        maps_CZX: bool, one map per class.
        valid_ZX: bool, cells that count.

    Returns:
        uint8 RGB, of the image's size.
    """
    colors_ZX3 = np.zeros((*GRID_SHAPE, 3), np.float32)
    strength_ZX = np.where(valid_ZX, 0.0, 0.55).astype(np.float32)
    for class_map_ZX, color in zip(maps_CZX, _PALETTE, strict=True):
        colors_ZX3[class_map_ZX & valid_ZX] = color
        strength_ZX[class_map_ZX & valid_ZX] = 0.45

    height, width = image_HW3.shape[:2]
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    rays_HW3 = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(view.intrinsics_33).T
    slope_x, slope_z, offset = ground_height(view)
    # The ray t * (dx, dy, 1) meets the plane y = a x + b z + c where t = c / (dy - a dx - b); z = t.
    falls_HW = rays_HW3[..., 1] - slope_x * rays_HW3[..., 0] - slope_z
    depth_HW = offset / np.where(falls_HW > 1e-6, falls_HW, np.nan)
    row_HW = np.nan_to_num(np.round((depth_HW - Z_MIN_M) / CELL_M), nan=-1)
    column_HW = np.nan_to_num(np.round((depth_HW * rays_HW3[..., 0] - X_MIN_M) / CELL_M), nan=-1)
    on_grid_HW = (row_HW >= 0) & (row_HW < GRID_SHAPE[0]) & (column_HW >= 0) & (column_HW < GRID_SHAPE[1])
    cells = row_HW[on_grid_HW].astype(np.int64), column_HW[on_grid_HW].astype(np.int64)
    strength = strength_ZX[cells][:, None]
    picture = image_HW3.copy()
    picture[on_grid_HW] = picture[on_grid_HW] * (1 - strength) + colors_ZX3[cells] * strength
    _draw_boxes(picture, view)
    return picture


def _draw_boxes(picture: np.ndarray, view: View) -> None:
    corners_N83 = transform(np.linalg.inv(view.camera_to_world_44), view.boxes.corners_N83())
    for corners_83, class_index in zip(corners_N83, view.boxes.classes_N, strict=True):
        color = _NO_CLASS if class_index == IGNORE else _PALETTE[class_index]
        for first, second in _EDGES:
            segment = _in_front(corners_83[first], corners_83[second])
            if segment is not None:
                pixels = segment @ view.intrinsics_33.T
                # Far outside the image OpenCV's integers overflow.
                pixels = np.clip(pixels[:, :2] / pixels[:, 2:], -30000, 30000).round().astype(int)
                cv2.line(picture, pixels[0].tolist(), pixels[1].tolist(), color, 2, cv2.LINE_AA)


def _in_front(first_3: np.ndarray, second_3: np.ndarray) -> np.ndarray | None:
    """Cut off what lies behind the camera."""
    if max(first_3[2], second_3[2]) <= _NEAR_M:
        return None
    if first_3[2] > second_3[2]:
        first_3, second_3 = second_3, first_3
    if first_3[2] < _NEAR_M:
        share = (_NEAR_M - first_3[2]) / (second_3[2] - first_3[2])
        first_3 = first_3 + share * (second_3 - first_3)
    return np.stack([first_3, second_3])
