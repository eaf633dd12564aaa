"""Feature refinement: each pixel adds samples of the map at the rotated box that was found from it.

Paper: R3Det, https://arxiv.org/abs/1908.05612.

Shape letters: B pictures, C channels, H and W of the map, N = B * H * W.
"""

import torch
from torch import Tensor

from mmopt.ops.mmcv.regions.grid import mean_entries, table_of
from mmopt.ops.mmcv.weighted_rows import weighted_rows

__all__ = ['rotated_feature_align']


def rotated_feature_align(features_BCHW: Tensor, boxes_BHW5: Tensor, spatial_scale: float, points: int) -> Tensor:
    """Add to each pixel the map at the center of its box, with 5 points at its corners as well. Differentiable.

    Args:
        features_BCHW: The map.
        boxes_BHW5: (center y, center x, width, height, angle in radians) in pixels of the picture.
        spatial_scale: Size of the map divided by that of the picture.
        points: 1 or 5.

    Returns:
        (B, C, H, W), in at least float32.
    """
    batch, _, height, width = features_BCHW.shape
    table_NC = table_of(features_BCHW)
    y_N, x_N, width_N, height_N, angle_N = boxes_BHW5.to(table_NC.dtype).reshape(-1, 5).unbind(dim=1)
    y_N, x_N = y_N * spatial_scale, x_N * spatial_scale
    steps = torch.tensor([[0, 0], [1, 1], [-1, 1], [-1, -1], [1, -1]], device=y_N.device)[:points] * (spatial_scale / 2)
    along_NS, across_NS = width_N[:, None] * steps[:, 0], height_N[:, None] * steps[:, 1]
    cos_N1, sin_N1 = angle_N.cos()[:, None], angle_N.sin()[:, None]
    x_NS = x_N[:, None] + along_NS * cos_N1 - across_NS * sin_N1
    y_NS = y_N[:, None] + along_NS * sin_N1 + across_NS * cos_N1
    picture_N = torch.arange(batch, device=y_N.device).repeat_interleave(height * width)
    # Each pixel is a region of one cell, whose samples are in a row; their mean times their number is their sum.
    y, x = y_NS[:, None, None, None], x_NS[:, None, None, None]
    exists = torch.ones_like(y, dtype=torch.bool)
    rows_NE, weights_NE = mean_entries(y, x, exists, picture_N, height, width)
    refined_NC = table_NC + weighted_rows(table_NC, rows_NE, weights_NE * points)
    return refined_NC.view(batch, height, width, -1).permute(0, 3, 1, 2)
