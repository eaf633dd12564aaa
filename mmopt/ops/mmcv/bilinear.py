"""Bilinear samples of a map that is 0 outside, as weighted sums of its four pixels around each place."""

import torch
from torch import Tensor

__all__ = ['bilinear_corners']


def bilinear_corners(y: Tensor, x: Tensor, height: int | Tensor, width: int | Tensor) -> tuple[Tensor, Tensor]:
    """Return pixel numbers (row * width + column, int) and weights, both (..., 4), of places on a map.

    Weights are differentiable for the places, which count from the center of the first pixel. Pixels outside the map
    have weight 0 and some number that exists. Where heights and widths are tensors, each place has its own map.
    """
    inside = (y > -1) & (y < height) & (x > -1) & (x < width)
    # Also what keeps places that are not finite from becoming numbers of pixels.
    y, x = torch.where(inside, y, 0), torch.where(inside, x, 0)
    top, left = y.detach().floor(), x.detach().floor()
    down, right = y - top, x - left
    top, left = top.int(), left.int()
    pixels, weights = [], []
    for row, row_weight in ((top, 1 - down), (top + 1, down)):
        for column, column_weight in ((left, 1 - right), (left + 1, right)):
            exists = inside & (row >= 0) & (row < height) & (column >= 0) & (column < width)
            pixels.append(torch.where(exists, row * width + column, 0))
            weights.append(row_weight * column_weight * exists)
    return torch.stack(pixels, dim=-1), torch.stack(weights, dim=-1)
