"""What one label is made from: a camera image, its pose, the boxes around it and what is known of the ground.

Frames: camera x right, y down, z forward; ego x forward, y left, z up; world is nuScenes' global frame (key frames and
nuScenes itself both give poses in it). ``a_to_b_44`` maps points of frame a to frame b. Units are meters and pixels.
Shape letters: N boxes; P points; Z = 196 rows of the map (nearest first), X = 200 columns.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mmopt.datasets.bev.nuscenes import NuScenesBEVDataset

__all__ = [
    'CATEGORY_TO_CLASS',
    'CLASSES',
    'GROUND_CLASSES',
    'IGNORE',
    'Boxes',
    'Ground',
    'View',
    'numbers',
    'pose',
    'transform',
]

CLASSES: tuple[str, ...] = NuScenesBEVDataset.METAINFO['classes']
GROUND_CLASSES = CLASSES[:4]
IGNORE = len(CLASSES)  # the bit of cells that do not count

# nuScenes' own table for its detection task. Categories that are not in it (strollers, wheelchairs, animals, debris,
# bicycle racks, police cars, ...) have no class: the cells they cover are ignored.
CATEGORY_TO_CLASS = {
    'human.pedestrian.adult': 'pedestrian',
    'human.pedestrian.child': 'pedestrian',
    'human.pedestrian.construction_worker': 'pedestrian',
    'human.pedestrian.police_officer': 'pedestrian',
    'movable_object.barrier': 'barrier',
    'movable_object.trafficcone': 'traffic_cone',
    'vehicle.bicycle': 'bicycle',
    'vehicle.bus.bendy': 'bus',
    'vehicle.bus.rigid': 'bus',
    'vehicle.car': 'car',
    'vehicle.construction': 'construction_vehicle',
    'vehicle.motorcycle': 'motorcycle',
    'vehicle.trailer': 'trailer',
    'vehicle.truck': 'truck',
}


@dataclass(frozen=True, eq=False)
class Boxes:
    """Upright or tilted boxes in the world.

    Args:
        centers_N3: Geometric centers.
        sizes_N3: Length, width, height: extent along the box's own x, y, z.
        rotations_N33: Rotations from the box's own axes to the world's.
        classes_N: Class indices; ``IGNORE`` for objects of no class.
    """

    centers_N3: np.ndarray
    sizes_N3: np.ndarray
    rotations_N33: np.ndarray
    classes_N: np.ndarray

    def __len__(self) -> int:
        return len(self.classes_N)

    def corners_N83(self) -> np.ndarray:
        """Return the corners; the first four are the footprint, in order around it."""
        around = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
        signs_83 = np.vstack([np.column_stack([around, np.full(4, side)]) for side in (-1, 1)])
        offsets_N83 = signs_83 * self.sizes_N3[:, None] / 2
        return self.centers_N3[:, None] + offsets_N83 @ self.rotations_N33.transpose(0, 2, 1)


class Ground(Protocol):
    """Source of the ground classes' maps; must be small to pickle, for it is sent to the workers."""

    def masks(self, world_to_grid_23: np.ndarray) -> np.ndarray:
        """Return one bool map per ground class.

        Args:
            world_to_grid_23: Affine map from world (x, y) to the camera's (x, z) on the ground.

        Returns:
            bool (4, Z, X).
        """
        ...


@dataclass(frozen=True, eq=False)
class View:
    """One image to be labeled.

    Args:
        name: Stem of the files to be written.
        splits: Folders to be written to: ``train``, ``val``.
        image: The camera image.
        size: Width and height of the image in pixels.
        camera_to_world_44: Pose of the camera when the image was taken.
        ego_to_world_44: Pose of the car at that time; its plane z = 0 is the ground.
        boxes: Objects around the car.
        ground: Where drivable area, crossings, walkways and car parks come from.
        lidar: LiDAR sweep, or None where there is none.
        lidar_to_world_44: Its pose.
    """

    name: str
    splits: tuple[str, ...]
    image: Path
    size: tuple[int, int]
    intrinsics_33: np.ndarray
    camera_to_world_44: np.ndarray
    ego_to_world_44: np.ndarray
    boxes: Boxes
    ground: Ground
    lidar: Path | None = None
    lidar_to_world_44: np.ndarray | None = None


def numbers(values: Any, *shape: int) -> np.ndarray:
    """Turn an entry of a JSON table into numbers.

    Args:
        values: The entry.
        *shape: What it has to have.

    Returns:
        float64 of that shape.

    Raises:
        ValueError: If it has another shape, or one of them is null or not finite.
    """
    try:
        array = np.array(values, np.float64)
    except (TypeError, ValueError):
        array = np.zeros(0)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f'{values} in the place of {"x".join(map(str, shape))} finite numbers')
    return array


def pose(translation: list[float], quaternion: list[float]) -> np.ndarray:
    """Make a 4x4 pose.

    Args:
        translation: Position, 3 numbers.
        quaternion: Rotation as (w, x, y, z), nuScenes' order; need not have length 1.

    Returns:
        The matrix that maps points of the posed frame to the outer frame.

    Raises:
        ValueError: If either is null, has another number of entries, is not finite, or the rotation has no length.
    """
    position_3, rotation_4 = numbers(translation, 3), numbers(quaternion, 4)
    if not np.linalg.norm(rotation_4):
        raise ValueError(f'the rotation {quaternion} has no length')
    w, x, y, z = rotation_4 / np.linalg.norm(rotation_4)
    matrix_44 = np.eye(4)
    matrix_44[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    matrix_44[:3, 3] = position_3
    return matrix_44


def transform(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply an affine map (its last column is the translation) to points (..., D)."""
    dimensions = points.shape[-1]
    return points @ matrix[:dimensions, :dimensions].T + matrix[:dimensions, -1]
