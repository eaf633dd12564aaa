"""What all poolings of regions share: how a region is sampled, and maps and pooled cells as rows of a table.

Shape letters: B pictures, C channels, H and W of the map, T = B * H * W; R regions, Py and Px cells, P = Py * Px;
Sy and Sx samples of a cell, S = Sy * Sx, N = R * P.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmopt.ops.mmcv.bilinear import bilinear_corners

__all__ = [
    'RoIGrid',
    'features_of',
    'mean_entries',
    'pooled_of',
    'rows_of_pooled',
    'sample_places',
    'table_of',
]


@dataclass(frozen=True)
class RoIGrid:
    """How a region is sampled.

    Args:
        height: Cells from top to bottom.
        width: Cells from left to right.
        spatial_scale: Size of the map divided by that of the picture in whose pixels regions are given.
        sampling_ratio: Samples per cell and axis. 0: as many as the cell is long in pixels of the map, rounded up.
        aligned: Whether pixel (0, 0) of the map has its center at (0.5, 0.5), the default of mmcv since 1.0; otherwise
            its center is at (0, 0) and regions are made at least one pixel of the map wide and high.
    """

    height: int
    width: int
    spatial_scale: float
    sampling_ratio: int
    aligned: bool

    def samples_of(self, size_R2: Tensor) -> Tensor:
        """Return how many samples a cell of each region has, int (R, 2), for its size on the map (height, width)."""
        cell_R2 = size_R2 / size_R2.new_tensor([self.height, self.width])
        # What is not finite has none.
        samples_R2 = cell_R2.ceil().nan_to_num(nan=0, posinf=0, neginf=0).clamp(min=0).long()
        if self.sampling_ratio > 0:
            samples_R2 = torch.full_like(samples_R2, self.sampling_ratio) * cell_R2.isfinite()
        return samples_R2


def sample_places(
    start_R: Tensor, cell_R: Tensor, samples_R: Tensor, num_cells: int, most: int
) -> tuple[Tensor, Tensor]:
    """Return the places of samples along an axis (R, P, S), and whether a region has that many (R, 1, S).

    ``most`` is S, the largest number of samples; cells lie one behind the other from a region's start.
    """
    cell_P1 = torch.arange(num_cells, device=start_R.device)[:, None]
    sample_S = torch.arange(most, device=start_R.device)
    start_R11, cell_R11, samples_R11 = (values[:, None, None] for values in (start_R, cell_R, samples_R))
    places_RPS = start_R11 + cell_P1 * cell_R11 + (sample_S + 0.5) * cell_R11 / samples_R11
    return places_RPS, sample_S < samples_R11


def mean_entries(
    y: Tensor, x: Tensor, exists: Tensor, picture_R: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Return rows of the table and weights (N, S * 4), whose sum is the mean of each cell's samples.

    Args:
        y: (R, Py, Px, Sy, Sx), in pixels of the map. Samples outside by more than one pixel count as 0.
        x: As y.
        exists: Whether a region has that sample, to be broadcast to the shape of y.
        picture_R: int.
        height: Of the map, and so is the next.
        width: See there.

    Returns:
        Rows and weights; weights are differentiable for the places.
    """
    counts = exists & (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    y, x = (torch.where(counts, place, 0).clamp(0, length - 1) for place, length in ((y, height), (x, width)))
    pixels, weights = bilinear_corners(y, x, height, width)
    num_samples = exists.expand_as(counts).sum(dim=(3, 4), keepdim=True)
    weights = weights * (counts / num_samples)[..., None]
    rows = (picture_R.int() * (height * width))[:, None, None, None, None, None] + pixels
    return rows.flatten(3).flatten(0, 2), weights.flatten(3).flatten(0, 2)


def table_of(features_BCHW: Tensor) -> Tensor:
    """Return the pixels of all pictures as rows (T, C), in at least float32."""
    dtype = torch.promote_types(features_BCHW.dtype, torch.float32)
    return features_BCHW.to(dtype).permute(0, 2, 3, 1).reshape(-1, features_BCHW.shape[1])


def features_of(table_TC: Tensor, shape_BCHW: torch.Size) -> Tensor:
    """Undo :func:`table_of`."""
    batch, _, height, width = shape_BCHW
    return table_TC.view(batch, height, width, -1).permute(0, 3, 1, 2).contiguous()


def rows_of_pooled(pooled_RCPP: Tensor) -> Tensor:
    """Return the cells of all regions as rows (R, P, C), in at least float32."""
    dtype = torch.promote_types(pooled_RCPP.dtype, torch.float32)
    return pooled_RCPP.to(dtype).flatten(2).transpose(1, 2).contiguous()


def pooled_of(pooled_RPC: Tensor, grid: RoIGrid) -> Tensor:
    """Undo :func:`rows_of_pooled`."""
    return pooled_RPC.transpose(1, 2).unflatten(2, (grid.height, grid.width)).contiguous()
