"""From a view to its label: one 16-bit integer per cell.

Bit c is class c of ``NuScenesBEVDataset``, bit 14 (*ignore*) marks cells outside the field of view, hidden ones, and
those covered by an object of no class. A hidden cell keeps its class bits, as in the published labels.
"""

import numpy as np

from mmopt.datasets.bev.prepare.rasterize import GRID_SHAPE, footprints, world_to_grid
from mmopt.datasets.bev.prepare.views import GROUND_CLASSES, IGNORE, View, transform
from mmopt.datasets.bev.prepare.visibility import hidden_behind_boxes, hidden_in_lidar, in_field_of_view, load_sweep

__all__ = ['make_label']


def make_label(view: View, occlusion: str) -> np.ndarray:
    """Rasterize one label.

    Args:
        view: The image and what surrounds it.
        occlusion: What hides cells: ``lidar`` (the view must have a sweep), ``boxes`` or ``none``.

    Returns:
        uint16 (196, 200), row 0 nearest.
    """
    maps_CZX = np.zeros((IGNORE + 1, *GRID_SHAPE), bool)
    maps_CZX[: len(GROUND_CLASSES)] = view.ground.masks(world_to_grid(view))
    for index, mask_ZX in footprints(view):
        maps_CZX[view.boxes.classes_N[index]] |= mask_ZX
    maps_CZX[IGNORE] |= ~in_field_of_view(view.intrinsics_33, view.size[0])
    if occlusion == 'lidar':
        assert view.lidar is not None, 'see occlusion'
        lidar_to_camera_44 = np.linalg.inv(view.camera_to_world_44) @ view.lidar_to_world_44
        maps_CZX[IGNORE] |= hidden_in_lidar(transform(lidar_to_camera_44, load_sweep(view.lidar)))
    elif occlusion == 'boxes':
        maps_CZX[IGNORE] |= hidden_behind_boxes(view)
    weights_C = (1 << np.arange(IGNORE + 1)).astype(np.uint16)
    return (maps_CZX * weights_C[:, None, None]).sum(axis=0, dtype=np.uint16)
