"""RoIAlign for rotated regions: the mean of bilinear samples in each cell of a grid that is turned with the region.

Paper: RoI Transformer, https://arxiv.org/abs/1812.00155. Places and their limits are those of upright regions:
see :mod:`mmopt.ops.mmcv.regions.grid`.

Shape letters: B pictures, C channels, H and W of the map, T = B * H * W; R regions, P = Py * Px cells, S = Sy * Sx
samples of a cell, N = R * P.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from mmopt.ops.mmcv.chunks import chunks_by_size
from mmopt.ops.mmcv.regions.grid import (
    RoIGrid,
    features_of,
    mean_entries,
    pooled_of,
    rows_of_pooled,
    sample_places,
    table_of,
)
from mmopt.ops.mmcv.weighted_rows import add_weighted_rows, weighted_rows

__all__ = ['roi_align_rotated', 'roi_align_rotated_backward']


def roi_align_rotated(features_BCHW: Tensor, rois_R6: Tensor, grid: RoIGrid, clockwise: bool) -> Tensor:
    """Average the samples of each cell. Not differentiable: see :func:`roi_align_rotated_backward`.

    Args:
        features_BCHW: Feature maps.
        rois_R6: Regions (index of the picture, center x, center y, width, height, angle in radians).
        grid: How they are sampled.
        clockwise: Whether angles grow clockwise on the screen.

    Returns:
        (R, C, Py, Px), of the features' type; computed in at least float32.
    """
    table_TC = table_of(features_BCHW)
    pooled_RPC = table_TC.new_zeros(len(rois_R6), grid.height * grid.width, table_TC.shape[1])
    for index_R, rows_NE, weights_NE in _entries(rois_R6, grid, clockwise, features_BCHW.shape):
        sums_NC = weighted_rows(table_TC, rows_NE, weights_NE.to(table_TC.dtype))
        pooled_RPC[index_R] = sums_NC.view(-1, *pooled_RPC.shape[1:])
    return pooled_of(pooled_RPC, grid).to(features_BCHW.dtype)


def roi_align_rotated_backward(
    grad_RCPP: Tensor, rois_R6: Tensor, grid: RoIGrid, clockwise: bool, shape_BCHW: torch.Size
) -> Tensor:
    """Return the gradient of :func:`roi_align_rotated` for its features, of shape ``shape_BCHW``."""
    grad_RPC = rows_of_pooled(grad_RCPP)
    grad_TC = grad_RPC.new_zeros(shape_BCHW[0] * shape_BCHW[2] * shape_BCHW[3], shape_BCHW[1])
    for index_R, rows_NE, weights_NE in _entries(rois_R6, grid, clockwise, shape_BCHW):
        grad_NC = grad_RPC[index_R].flatten(0, 1)
        grad_TC += add_weighted_rows(grad_NC, rows_NE, weights_NE.to(grad_NC.dtype), len(grad_TC))
    return features_of(grad_TC, shape_BCHW).to(grad_RCPP.dtype)


def _entries(
    rois_R6: Tensor, grid: RoIGrid, clockwise: bool, shape_BCHW: torch.Size
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield indices of regions, and the rows and weights (N, S * 4) that their cells' averages sum."""
    height, width = shape_BCHW[2:]
    rois_R6 = rois_R6.to(torch.promote_types(rois_R6.dtype, torch.float32))
    center_R2 = rois_R6[:, [2, 1]] * grid.spatial_scale - (0.5 if grid.aligned else 0.0)
    size_R2 = rois_R6[:, [4, 3]] * grid.spatial_scale
    if not grid.aligned:
        size_R2 = size_R2.clamp(min=1)
    samples_R2 = grid.samples_of(size_R2)
    sin_R, cos_R = rois_R6[:, 5].sin() * (-1 if clockwise else 1), rois_R6[:, 5].cos()
    for index_R in chunks_by_size(samples_R2.prod(dim=1) * (4 * grid.height * grid.width)):
        (yy_RPySy, y_exists_R1Sy), (xx_RPxSx, x_exists_R1Sx) = (
            sample_places(-size_R / 2, size_R / cells, samples_R, cells, int(samples_R.max()))
            for size_R, samples_R, cells in zip(
                size_R2[index_R].T, samples_R2[index_R].T, (grid.height, grid.width), strict=True
            )
        )
        yy, xx = yy_RPySy[:, :, None, :, None], xx_RPxSx[:, None, :, None, :]
        cos, sin, center_y, center_x = (
            values[index_R, None, None, None, None] for values in (cos_R, sin_R, *center_R2.unbind(dim=1))
        )
        y, x = yy * cos - xx * sin + center_y, yy * sin + xx * cos + center_x
        exists = y_exists_R1Sy[:, :, None, :, None] & x_exists_R1Sx[:, None, :, None, :]
        yield index_R, *mean_entries(y, x, exists, rois_R6[index_R, 0], height, width)
