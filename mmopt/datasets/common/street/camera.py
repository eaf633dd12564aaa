"""The pinhole camera of the demo world.

World frame, meters: x right, y *up* from the ground, z forward, origin on the ground below the camera. The optical axis
is horizontal, so a point is at image row ``v = cy + fy * (height - y) / z``. Shape letters: N points, H W image.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = ['CAM_FRONT_HEIGHT_M', 'CAM_FRONT_INTRINSICS', 'CAM_FRONT_SIZE', 'NEAR_M', 'Camera', 'clip_near']

# nuScenes' CAM_FRONT: camera matrix and mounting height of v1.0-mini, scene-0061.
CAM_FRONT_INTRINSICS = (
    (1266.417203046554, 0.0, 816.2670197447984),
    (0.0, 1266.417203046554, 491.50706579294757),
    (0.0, 0.0, 1.0),
)
CAM_FRONT_HEIGHT_M = 1.51
CAM_FRONT_SIZE = (900, 1600)

NEAR_M = 0.5
"""Nothing nearer is drawn: polygons are cut at this distance before they are projected."""

_FARTHEST_GROUND_M = 400.0


@dataclass(frozen=True)
class Camera:
    """nuScenes' CAM_FRONT, its matrix scaled to another image size.

    Attributes:
        image_size: Height and width, in pixels.
    """

    image_size: tuple[int, int] = CAM_FRONT_SIZE

    @cached_property
    def intrinsics_33(self) -> np.ndarray:
        """Camera matrix of the image as it is written."""
        scale = np.array([self.image_size[1] / CAM_FRONT_SIZE[1], self.image_size[0] / CAM_FRONT_SIZE[0], 1.0])
        return np.array(CAM_FRONT_INTRINSICS) * scale[:, None]

    def project(self, points_N3: np.ndarray) -> np.ndarray:
        """Project world points with z > 0 to pixels: (N, 2) of (u, v), pixel centers at integers."""
        matrix = self.intrinsics_33
        x, y, z = np.asarray(points_N3, np.float64).T
        pixels = np.empty((len(z), 2))
        pixels[:, 0] = matrix[0, 2] + matrix[0, 0] * x / z
        pixels[:, 1] = matrix[1, 2] + matrix[1, 1] * (CAM_FRONT_HEIGHT_M - y) / z
        return pixels

    @cached_property
    def first_ground_row(self) -> int:
        """First image row below the horizon."""
        return int(np.floor(self.intrinsics_33[1, 2])) + 1

    @cached_property
    def ground_points(self) -> tuple[np.ndarray, np.ndarray]:
        """x and z of the ground under every pixel below the horizon, float32 (rows, W) and (rows, 1)."""
        matrix = self.intrinsics_33
        rows = np.arange(self.first_ground_row, self.image_size[0])
        z = np.minimum(CAM_FRONT_HEIGHT_M * matrix[1, 1] / (rows - matrix[1, 2]), _FARTHEST_GROUND_M)[:, None]
        x = (np.arange(self.image_size[1]) - matrix[0, 2]) / matrix[0, 0] * z
        return x.astype(np.float32), z.astype(np.float32)

    @cached_property
    def ground_footprint(self) -> tuple[np.ndarray, np.ndarray]:
        """Extent of a pixel on the ground along x and along z, in meters, float32 (rows, 1): what to filter over."""
        z = self.ground_points[1]
        focal_u, focal_v = self.intrinsics_33[0, 0], self.intrinsics_33[1, 1]
        return (z / focal_u).astype(np.float32), (z**2 / (focal_v * CAM_FRONT_HEIGHT_M)).astype(np.float32)


def clip_near(points_N3: np.ndarray) -> np.ndarray:
    """Cut a polygon at z = NEAR_M (Sutherland-Hodgman); fewer than three points are left where nothing is in front."""
    inside = points_N3[:, 2] >= NEAR_M
    if inside.all():
        return points_N3
    kept = []
    for index, point in enumerate(points_N3):
        previous = points_N3[index - 1]
        if inside[index] != inside[index - 1]:
            part = (NEAR_M - previous[2]) / (point[2] - previous[2])
            kept.append(previous + part * (point - previous))
        if inside[index]:
            kept.append(point)
    return np.array(kept).reshape(-1, 3)
