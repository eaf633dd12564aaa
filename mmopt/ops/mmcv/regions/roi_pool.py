"""RoI pooling: the largest pixel of each cell of a grid laid over each region.

Paper: Fast R-CNN, https://arxiv.org/abs/1504.08083. As in mmcv, cells have fractional borders, and each has all pixels
that it touches; the right and bottom pixels of a region belong to it.

Shape letters: B pictures, C channels, H and W of the map, R regions, P = Py * Px cells, S pixels of a cell, N = R * P.
"""

import torch
from torch import Tensor

from mmopt.ops.mmcv.chunks import chunks_by_size

__all__ = ['roi_pool', 'roi_pool_backward']


def roi_pool(
    features_BCHW: Tensor, rois_R5: Tensor, cells: tuple[int, int], spatial_scale: float
) -> tuple[Tensor, Tensor]:
    """Take the largest pixel of each cell, channel by channel. Not differentiable: see :func:`roi_pool_backward`.

    Args:
        features_BCHW: Feature maps.
        rois_R5: Regions (index of the picture, x1, y1, x2, y2) in pixels of the picture.
        cells: From top to bottom, and from left to right.
        spatial_scale: Size of the map divided by that of the picture.

    Returns:
        The maxima (R, C, Py, Px), 0 where a cell has no pixel of the map, and the pixel of each (row * W + column, -1
        where there is none), int32.
    """
    _, channels, height, width = features_BCHW.shape
    rois_R5 = rois_R5.to(torch.promote_types(rois_R5.dtype, torch.float32))
    top_RPy, bottom_RPy = _borders(rois_R5[:, 2], rois_R5[:, 4], cells[0], spatial_scale, height)
    left_RPx, right_RPx = _borders(rois_R5[:, 1], rois_R5[:, 3], cells[1], spatial_scale, width)
    rows_R, columns_R = (bottom_RPy - top_RPy).amax(dim=1), (right_RPx - left_RPx).amax(dim=1)
    table_TC = features_BCHW.permute(0, 2, 3, 1).reshape(-1, channels)
    best_RCP = features_BCHW.new_zeros(len(rois_R5), channels, cells[0] * cells[1])
    pixel_RCP = torch.full_like(best_RCP, -1, dtype=torch.int32)
    for index_R in chunks_by_size(rows_R * columns_R * (channels * cells[0] * cells[1])):
        y_RPySy = top_RPy[index_R, :, None] + torch.arange(int(rows_R[index_R].max()), device=rois_R5.device)
        x_RPxSx = left_RPx[index_R, :, None] + torch.arange(int(columns_R[index_R].max()), device=rois_R5.device)
        has_y, has_x = y_RPySy < bottom_RPy[index_R, :, None], x_RPxSx < right_RPx[index_R, :, None]
        exists_RPS = (has_y[:, :, None, :, None] & has_x[:, None, :, None, :]).flatten(3).flatten(1, 2)
        y, x = y_RPySy.clamp(max=height - 1), x_RPxSx.clamp(max=width - 1)
        pixels_RPS = (y[:, :, None, :, None] * width + x[:, None, :, None, :]).flatten(3).flatten(1, 2)
        first_R = rois_R5[index_R, 0].long() * (height * width)
        values_RPSC = table_TC[first_R[:, None, None] + pixels_RPS]
        best_RPC, which_RPC = values_RPSC.masked_fill(~exists_RPS[..., None], -torch.inf).max(dim=2)
        some_RP1 = exists_RPS.any(dim=2, keepdim=True)
        best_RCP[index_R] = torch.where(some_RP1, best_RPC, 0).transpose(1, 2)
        pixel_RPC = torch.where(some_RP1, pixels_RPS.gather(2, which_RPC), -1)
        pixel_RCP[index_R] = pixel_RPC.transpose(1, 2).int()
    return best_RCP.unflatten(2, cells), pixel_RCP.unflatten(2, cells)


def roi_pool_backward(grad_RCPP: Tensor, pixel_RCPP: Tensor, rois_R5: Tensor, shape_BCHW: torch.Size) -> Tensor:
    """Return the gradient of :func:`roi_pool` for its features; ``pixel_RCPP`` is its second result."""
    batch, channels, height, width = shape_BCHW
    wide = torch.promote_types(grad_RCPP.dtype, torch.float32)
    plane_RC = rois_R5[:, :1].long() * channels + torch.arange(channels, device=rois_R5.device)
    place_RCP = plane_RC[..., None] * (height * width) + pixel_RCPP.flatten(2).clamp(min=0)
    grad_RCP = grad_RCPP.flatten(2).to(wide) * (pixel_RCPP.flatten(2) >= 0)
    grad_F = grad_RCP.new_zeros(batch * channels * height * width)
    return grad_F.index_add_(0, place_RCP.flatten(), grad_RCP.flatten()).view(shape_BCHW).to(grad_RCPP.dtype)


def _borders(low_R: Tensor, high_R: Tensor, cells: int, scale: float, length: int) -> tuple[Tensor, Tensor]:
    """Return the first pixel of each cell and the one behind its last, int (R, P), within the map."""
    start_R1 = (low_R * scale)[:, None]
    size_R1 = ((high_R + 1) * scale)[:, None] - start_R1
    cell_R1 = size_R1 / cells
    number_P = torch.arange(cells, device=low_R.device)
    first_RP, behind_RP = (number_P * cell_R1 + start_R1).floor(), ((number_P + 1) * cell_R1 + start_R1).ceil()
    # A region without area has no pixel, nor has one that is not finite.
    behind_RP = torch.where(size_R1 > 0, behind_RP, 0)
    first_RP, behind_RP = (border.nan_to_num(nan=0, posinf=0, neginf=0) for border in (first_RP, behind_RP))
    first_RP, behind_RP = first_RP.clamp(0, length).long(), behind_RP.clamp(0, length).long()
    return first_RP, torch.maximum(first_RP, behind_RP)
