"""Multi-scale deformable attention: each query sums bilinear samples of several maps, at places of its own.

Paper: Deformable DETR, https://arxiv.org/abs/2010.04159.

Shape letters: B pictures, V values of all maps, one map behind the other, A heads, C channels of a head, Q queries,
L maps (levels), S samples of a map.
"""

import torch
from torch import Tensor

from mmopt.ops.mmcv.bilinear import bilinear_corners
from mmopt.ops.mmcv.weighted_rows import weighted_rows

__all__ = ['deformable_attention']


def deformable_attention(
    value_BVAC: Tensor, shapes_L2: Tensor, first_L: Tensor, places: Tensor, attention: Tensor
) -> Tensor:
    """Attend. Differentiable for values, places and attention.

    Args:
        value_BVAC: The maps, row by row.
        shapes_L2: int, (height, width) of each.
        first_L: int, number of the first value of each.
        places: (B, Q, A, L, S, 2): (x, y) as parts of a map's size; (0, 0) is its top left corner, outside is 0.
        attention: (B, Q, A, L, S).

    Returns:
        (B, Q, A * C), in at least float32.
    """
    batch, num_values, heads, channels = value_BVAC.shape
    wide = torch.promote_types(value_BVAC.dtype, torch.float32)
    height_L1, width_L1 = shapes_L2.long().unsqueeze(-1).unbind(dim=1)
    # The center of the first pixel is half a pixel from the corner.
    x, y = (
        place.to(wide) * length_L1 - 0.5
        for place, length_L1 in zip(places.unbind(-1), (width_L1, height_L1), strict=True)
    )
    pixels, weights = bilinear_corners(y, x, height_L1, width_L1)
    weights = weights * attention.to(wide)[..., None]
    first_B = torch.arange(batch, device=pixels.device).view(-1, 1, 1, 1, 1, 1) * num_values
    head_A = torch.arange(heads, device=pixels.device).view(-1, 1, 1, 1)
    rows = (first_B + first_L.view(-1, 1, 1) + pixels) * heads + head_A
    table = value_BVAC.to(wide).reshape(-1, channels)
    sums = weighted_rows(table, rows.int().flatten(3).flatten(0, 2), weights.flatten(3).flatten(0, 2))
    return sums.view(batch, -1, heads * channels)
