"""Deformable RoI pooling: RoIAlign whose cells are each moved by an offset of their own.

Paper: https://arxiv.org/abs/1703.06211.

Shape letters: B pictures, C channels, H and W of the map, R regions, Py and Px cells.
"""

import torch
from torch import Tensor

from mmopt.ops.mmcv.chunks import chunks_by_size
from mmopt.ops.mmcv.regions.grid import RoIGrid, mean_entries, pooled_of, sample_places, table_of
from mmopt.ops.mmcv.weighted_rows import weighted_rows

__all__ = ['deform_roi_pool']


def deform_roi_pool(
    features_BCHW: Tensor, rois_R5: Tensor, offset: Tensor | None, grid: RoIGrid, gamma: float
) -> Tensor:
    """Average the samples of each cell. Differentiable for features and offsets.

    Args:
        features_BCHW: Feature maps.
        rois_R5: Regions (index of the picture, x1, y1, x2, y2) in pixels of the picture.
        offset: (R, 2, Py, Px): (dx, dy) of each cell as parts of the region's size times gamma. None: 0.
        grid: How regions are sampled; as if aligned.
        gamma: Factor of the offsets.

    Returns:
        (R, C, Py, Px), in at least float32.
    """
    height, width = features_BCHW.shape[2:]
    table_TC = table_of(features_BCHW)
    rois_R5 = rois_R5.to(table_TC.dtype)
    corners_R22 = rois_R5[:, 1:].reshape(-1, 2, 2).flip(-1) * grid.spatial_scale - 0.5
    start_R2, size_R2 = corners_R22[:, 0], corners_R22[:, 1] - corners_R22[:, 0]
    samples_R2 = grid.samples_of(size_R2)
    pooled_RPC = table_TC.new_zeros(len(rois_R5), grid.height * grid.width, table_TC.shape[1])
    for index_R in chunks_by_size(samples_R2.prod(dim=1) * (4 * grid.height * grid.width)):
        (y_RPySy, y_exists), (x_RPxSx, x_exists) = (
            sample_places(start_R, size_R / cells, samples_R, cells, int(samples_R.max()))
            for start_R, size_R, samples_R, cells in zip(
                start_R2[index_R].T, size_R2[index_R].T, samples_R2[index_R].T, (grid.height, grid.width), strict=True
            )
        )
        y, x = y_RPySy[:, :, None, :, None], x_RPxSx[:, None, :, None, :]
        exists = y_exists[:, :, None, :, None] & x_exists[:, None, :, None, :]
        if offset is not None:
            moved = offset[index_R].to(table_TC.dtype) * (gamma * size_R2[index_R].flip(-1))[:, :, None, None]
            x, y = x + moved[:, 0, :, :, None, None], y + moved[:, 1, :, :, None, None]
        y, x = torch.broadcast_tensors(y, x)
        rows_NE, weights_NE = mean_entries(y, x, exists, rois_R5[index_R, 0], height, width)
        pooled_RPC[index_R] = weighted_rows(table_TC, rows_NE, weights_NE).view(-1, *pooled_RPC.shape[1:])
    return pooled_of(pooled_RPC, grid)
