"""The label of a photographed street scene: one id of Cityscapes per pixel.

Objects are drawn at twice the size, in the order of the picture, and every other pixel kept: pixel centers lie at
whole numbers in both.

Shape letters: H W picture, R rows below the horizon.
"""

import cv2
import numpy as np

from mmopt.datasets.common.street.camera import Camera
from mmopt.datasets.common.street.items import Item
from mmopt.datasets.common.street.paint import project_faces, to_pixels
from mmopt.datasets.common.street.render import World
from mmopt.datasets.common.street.solids import Solid
from mmopt.datasets.common.street.sprites import sky_layout, tree_picture
from mmopt.datasets.common.street.street import Street

__all__ = ['ITEM_IDS', 'RIDER', 'draw_label_ids']

ROAD, SIDEWALK, PARKING, TERRAIN, SKY, VEGETATION, RIDER = 7, 8, 9, 22, 23, 21, 25

ITEM_IDS = dict(
    building=11,
    lamp=17,
    tree=VEGETATION,
    pedestrian=24,
    car=26,
    truck=27,
    bus=28,
    motorcycle=32,
    bicycle=33,
    # Not evaluated in Cityscapes: trailer, dynamic, static, guard rail.
    trailer=30,
    construction_vehicle=5,
    traffic_cone=4,
    barrier=14,
)
"""Cityscapes' label ids of what stands on the ground."""

_GROUND_IDS = dict(road=ROAD, walkway=SIDEWALK, carpark=PARKING)
_RIDER_LAYER = 2  # of bicycles and motorcycles: frame and engine lie below, the seated person above


def draw_label_ids(camera: Camera, world: World) -> np.ndarray:
    """Label a scene.

    Args:
        camera: The camera of the picture.

    Returns:
        Cityscapes' label ids, uint8 (H, W).
    """
    double = Camera((2 * camera.image_size[0], 2 * camera.image_size[1]))
    label = np.empty(double.image_size, np.uint8)
    label[::2, ::2] = np.concatenate([_sky(double, world)[::2, ::2], _ground(camera, world.street)])
    for item in world.far_to_near:
        if item.kind == 'tree':
            _draw_tree(label, double, item)
        else:
            _draw_solids(label, double, item)
    return np.ascontiguousarray(label[::2, ::2])


def _sky(camera: Camera, world: World) -> np.ndarray:
    # The ridges are the first that the picture draws from its seed.
    _, covers = sky_layout(camera, np.random.default_rng(world.picture_seed))
    return np.where(np.maximum(*covers) > 0.5, VEGETATION, SKY).astype(np.uint8)


def _ground(camera: Camera, street: Street) -> np.ndarray:
    x, z_R1 = camera.ground_points
    s, d = street.to_road(x, np.broadcast_to(z_R1, x.shape))
    label = np.full(x.shape, TERRAIN, np.uint8)
    # Surfaces at pixel centers: an extent of nearly nothing.
    share = street.regions(s, d, 1e-3, 1e-3)
    for name, label_id in _GROUND_IDS.items():
        label[share[name] > 0.5] = label_id
    return label


def _draw_tree(label_HW: np.ndarray, camera: Camera, item: Item) -> None:
    picture = tree_picture(camera, item)
    if picture is None:
        return
    top, left, _, alpha = picture
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + alpha.shape[0], label_HW.shape[0]), min(left + alpha.shape[1], label_HW.shape[1])
    if y0 < y1 and x0 < x1:
        label_HW[y0:y1, x0:x1][alpha[y0 - top : y1 - top, x0 - left : x1 - left] > 127] = VEGETATION


def _draw_solids(label_HW: np.ndarray, camera: Camera, item: Item) -> None:
    """Fill the outlines of an object: near and far faces of a convex body cover the same pixels as it does."""
    solids = sorted(item.solids, key=lambda solid: solid.layer)
    faces = [face for solid in solids for face in solid.faces]
    label_ids = [RIDER if _is_rider(item, solid) else ITEM_IDS[item.kind] for solid in solids for _ in solid.faces]
    contours, pixels_N2 = project_faces(camera, faces, item.pose)
    fixed_N2 = to_pixels(pixels_N2)
    for parts, label_id in zip(contours, label_ids, strict=True):
        if parts:
            cv2.fillPoly(label_HW, [fixed_N2[part] for part in parts], label_id, shift=4)


def _is_rider(item: Item, solid: Solid) -> bool:
    return item.kind in ('bicycle', 'motorcycle') and solid.flat and solid.layer == _RIDER_LAYER
