"""The label image of a demo scene: 14 class maps and what does not count.

Shape letters: Z = 196 rows, nearest first; X = 200 columns, leftmost first; cells of 0.25 m. A cell is judged at its
center.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from mmopt.datasets.common.street.camera import CAM_FRONT_HEIGHT_M, Camera
from mmopt.datasets.common.street.items import Item
from mmopt.datasets.common.street.street import Street

__all__ = ['cell_centers', 'draw_label', 'shadow_polygon']

_CELL_M = 0.25
_X_START_M, _Z_START_M = -25.0, 1.0
_SHAPE_ZX = (196, 200)
_IGNORE_BIT = 14
_GROUND_BITS = dict(road=0, crossing=1, walkway=2, carpark=3)
# A thing counts as seen where the point at half its height is in sight, but never one above the driver's eyes.
_SEEN_HEIGHT_M = 1.2
_FAR_FACTOR = 400.0


def cell_centers() -> tuple[np.ndarray, np.ndarray]:
    """Return x and z of all cell centers, (196, 200) each."""
    z = _Z_START_M + (np.arange(_SHAPE_ZX[0]) + 0.5) * _CELL_M
    x = _X_START_M + (np.arange(_SHAPE_ZX[1]) + 0.5) * _CELL_M
    return np.broadcast_to(x, _SHAPE_ZX), np.broadcast_to(z[:, None], _SHAPE_ZX)


def draw_label(camera: Camera, street: Street, items: Sequence[Item]) -> np.ndarray:
    """Draw the label image.

    Args:
        camera: The camera, for its field of view.
        items: Everything that stands on the ground; things without a class hide others and do not count themselves.

    Returns:
        uint16 (196, 200): bit c is class c, bit 14 is set where a cell is outside the horizontal field of view, hidden
        by another thing, or under a thing without a class.
    """
    x, z = cell_centers()
    s, d = street.to_road(x, z)
    label = np.zeros(_SHAPE_ZX, np.uint16)
    for name, share in street.regions(s, d, 1e-3, 1e-3).items():
        label |= (share > 0.5).astype(np.uint16) << _GROUND_BITS[name]

    ignore = _hidden(items, 0.0)
    for item in items:
        under = _cells_inside(item)
        if item.category is None:
            ignore |= under
            continue
        label[under] |= 1 << item.category
        # Its own body hides the ground behind it, but not itself.
        others = [other for other in items if other is not item]
        ignore[under] = _hidden(others, min(item.size[2] / 2, _SEEN_HEIGHT_M))[under]

    matrix = camera.intrinsics_33
    u = matrix[0, 0] * x / z + matrix[0, 2]
    ignore |= (u < 0) | (u > camera.image_size[1] - 1)
    label |= ignore.astype(np.uint16) << _IGNORE_BIT
    return label


def _cells_inside(item: Item) -> np.ndarray:
    """Cells with their center under an item; the one around its center at least."""
    x, z = cell_centers()
    x0, z0, yaw = item.pose
    sin, cos = np.sin(yaw), np.cos(yaw)
    forward = (x - x0) * sin + (z - z0) * cos
    right = (x - x0) * cos - (z - z0) * sin
    inside = (np.abs(forward) <= item.size[0] / 2) & (np.abs(right) <= item.size[1] / 2)
    row, column = int((z0 - _Z_START_M) // _CELL_M), int((x0 - _X_START_M) // _CELL_M)
    if 0 <= row < _SHAPE_ZX[0] and 0 <= column < _SHAPE_ZX[1]:
        inside[row, column] = True
    return inside


def shadow_polygon(corners_42: np.ndarray, top_m: float, height_m: float) -> np.ndarray | None:
    """Return the part of the plane at ``height_m`` that a prism hides from the camera.

    Args:
        corners_42: Its footprint, (x, z).
        top_m: Its height.
        height_m: Height of the plane, below the camera.

    Returns:
        Convex polygon (N, 2), the footprint included; None if the prism ends below the plane.
    """
    if top_m <= height_m:
        return None
    if top_m >= CAM_FRONT_HEIGHT_M:
        factor = _FAR_FACTOR
    else:
        factor = min((CAM_FRONT_HEIGHT_M - height_m) / (CAM_FRONT_HEIGHT_M - top_m), _FAR_FACTOR)
    both = np.concatenate([corners_42, corners_42 * factor]).astype(np.float32)
    return cv2.convexHull(both)[:, 0]


def _hidden(items: Sequence[Item], height_m: float) -> np.ndarray:
    """Cells whose point at ``height_m`` some item hides."""
    mask = np.zeros(_SHAPE_ZX, np.uint8)
    for item in items:
        # A crown is above the line of sight: of a tree only the trunk hides anything on the ground.
        polygon = shadow_polygon(item.corners_42, item.size[2], height_m)
        if polygon is not None:
            cells = (polygon - (_X_START_M, _Z_START_M)) / _CELL_M - 0.5
            cv2.fillConvexPoly(mask, np.round(np.clip(cells, -30000, 30000) * 16).astype(np.int32), 1, shift=4)
    return mask.astype(bool)
