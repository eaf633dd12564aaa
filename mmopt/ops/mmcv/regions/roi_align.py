"""RoIAlign: bilinear samples of each cell of a grid laid over each region, averaged or their maximum.

Paper: Mask R-CNN, https://arxiv.org/abs/1703.06870. The conventions are those of mmcv: see
:class:`mmopt.ops.mmcv.regions.grid.RoIGrid`.

Shape letters: B pictures, C channels, H and W of the map, T = B * H * W; R regions, Py and Px cells, P = Py * Px;
Sy and Sx samples of a cell, Wy and Wx pixels that they touch; N = R * P.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mmopt.ops.mmcv.chunks import chunks_by_size
from mmopt.ops.mmcv.regions.grid import RoIGrid, features_of, pooled_of, rows_of_pooled, sample_places, table_of
from mmopt.ops.mmcv.weighted_rows import add_weighted_rows, weighted_rows

__all__ = ['roi_align', 'roi_align_backward', 'roi_align_max', 'roi_align_max_backward']


def roi_align(features_BCHW: Tensor, rois_R5: Tensor, grid: RoIGrid) -> Tensor:
    """Average the samples of each cell. Not differentiable: :func:`roi_align_backward` is the gradient.

    Args:
        features_BCHW: Feature maps.
        rois_R5: Regions (index of the picture, x1, y1, x2, y2) in pixels of the picture. Samples outside the map by
            more than one pixel count as 0; a region without area, turned inside out, or not finite gives 0.
        grid: How regions are sampled.

    Returns:
        (R, C, Py, Px), of the features' type; computed in at least float32.
    """
    height, width = features_BCHW.shape[2:]
    table_TC = table_of(features_BCHW)
    pooled_RPC = table_TC.new_zeros(len(rois_R5), grid.height * grid.width, table_TC.shape[1])
    for chunk in _chunks(rois_R5, grid):
        rows_NK, weights_NK = chunk.average_entries(grid, height, width)
        sums_NC = weighted_rows(table_TC, rows_NK, weights_NK.to(table_TC.dtype))
        pooled_RPC[chunk.index_R] = sums_NC.view(-1, *pooled_RPC.shape[1:])
    return pooled_of(pooled_RPC, grid).to(features_BCHW.dtype)


def roi_align_backward(grad_RCPP: Tensor, rois_R5: Tensor, grid: RoIGrid, shape_BCHW: torch.Size) -> Tensor:
    """Return the gradient of :func:`roi_align` for its features, of shape ``shape_BCHW``."""
    batch, channels, height, width = shape_BCHW
    grad_RPC = rows_of_pooled(grad_RCPP)
    grad_TC = grad_RPC.new_zeros(batch * height * width, channels)
    for chunk in _chunks(rois_R5, grid):
        rows_NK, weights_NK = chunk.average_entries(grid, height, width)
        grad_NC = grad_RPC[chunk.index_R].flatten(0, 1)
        grad_TC += add_weighted_rows(grad_NC, rows_NK, weights_NK.to(grad_NC.dtype), len(grad_TC))
    return features_of(grad_TC, shape_BCHW).to(grad_RCPP.dtype)


def roi_align_max(features_BCHW: Tensor, rois_R5: Tensor, grid: RoIGrid) -> tuple[Tensor, Tensor, Tensor]:
    """Take the largest sample of each cell, channel by channel; arguments as in :func:`roi_align`.

    Returns:
        The maxima (R, C, Py, Px), and which sample of its cell each is, as row and column: int, of the same shape, -1
        where a cell has no sample.
    """
    height, width = features_BCHW.shape[2:]
    table_TC = table_of(features_BCHW)
    best_RPC = table_TC.new_zeros(len(rois_R5), grid.height * grid.width, table_TC.shape[1])
    row_RPC = torch.full_like(best_RPC, -1, dtype=torch.int64)
    column_RPC = row_RPC.clone()
    for chunk in _chunks(rois_R5, grid, table_TC.shape[1]):
        rows_NS4, weights_NS4, exists_NS = chunk.sample_entries(grid, height, width)
        values = weighted_rows(table_TC, rows_NS4.flatten(0, 1), weights_NS4.flatten(0, 1).to(table_TC.dtype))
        values_NSC = values.view(*exists_NS.shape, -1).masked_fill(~exists_NS[..., None], -torch.inf)
        best_NC, which_NC = values_NSC.max(dim=1)
        num_columns = chunk.num_samples[1]
        best_RPC[chunk.index_R] = best_NC.view(-1, *best_RPC.shape[1:])
        row_RPC[chunk.index_R] = (which_NC // num_columns).view(-1, *best_RPC.shape[1:])
        column_RPC[chunk.index_R] = (which_NC % num_columns).view(-1, *best_RPC.shape[1:])
    best = pooled_of(best_RPC, grid).to(features_BCHW.dtype)
    return best, pooled_of(row_RPC, grid), pooled_of(column_RPC, grid)


def roi_align_max_backward(
    grad_RCPP: Tensor, row_RCPP: Tensor, column_RCPP: Tensor, rois_R5: Tensor, grid: RoIGrid, shape_BCHW: torch.Size
) -> Tensor:
    """Return the gradient of :func:`roi_align_max` for its features; rows and columns are its other results."""
    batch, channels, height, width = shape_BCHW
    grad_RPC, row_RPC, column_RPC = rows_of_pooled(grad_RCPP), rows_of_pooled(row_RCPP), rows_of_pooled(column_RCPP)
    # Each channel took another sample, so that single numbers are added up, not rows of the table.
    grad_F = grad_RPC.new_zeros(batch * height * width * channels)
    channel_C = torch.arange(channels, device=grad_RPC.device)
    for chunk in _chunks(rois_R5, grid, channels):
        rows_NS4, weights_NS4, _ = chunk.sample_entries(grid, height, width)
        which_RPC = row_RPC[chunk.index_R] * chunk.num_samples[1] + column_RPC[chunk.index_R]
        which_NC4 = which_RPC.flatten(0, 1).long()[..., None].expand(-1, -1, 4)
        rows_NC4 = rows_NS4.gather(1, which_NC4).long()
        weights_NC4 = weights_NS4.gather(1, which_NC4).to(grad_F.dtype)
        grad_NC4 = grad_RPC[chunk.index_R].flatten(0, 1)[..., None] * weights_NC4
        grad_F.index_add_(0, (rows_NC4 * channels + channel_C[:, None]).flatten(), grad_NC4.flatten())
    return features_of(grad_F.view(-1, channels), shape_BCHW).to(grad_RCPP.dtype)


@dataclass(frozen=True)
class _Axis:
    """The samples along one axis: the two pixels that each lies between, and their weights (R, P, S, 2)."""

    pixels_RPS2: Tensor
    weights_RPS2: Tensor
    # Whether a region has that many samples per cell. Samples outside the map exist and have no weight.
    exists_RS: Tensor

    def merged(self, length: int) -> tuple[Tensor, Tensor]:
        """Return pixels and weights (R, P, K) of whole cells: neighboring samples share pixels."""
        pixels_RPE, weights_RPE = self.pixels_RPS2.flatten(2), self.weights_RPS2.flatten(2)
        counts_RPE = weights_RPE > 0
        first_RP1 = pixels_RPE.masked_fill(~counts_RPE, length - 1).amin(dim=2, keepdim=True)
        slots_RPE = (pixels_RPE - first_RP1).masked_fill(~counts_RPE, 0)
        span = int(slots_RPE.max()) + 1
        if span >= slots_RPE.shape[2]:
            return pixels_RPE, weights_RPE
        merged_RPK = weights_RPE.new_zeros(*weights_RPE.shape[:2], span).scatter_add_(2, slots_RPE, weights_RPE)
        pixels_RPK = first_RP1 + torch.arange(span, device=first_RP1.device)
        return pixels_RPK.clamp(max=length - 1), merged_RPK


@dataclass(frozen=True)
class _Chunk:
    """Regions with about as many samples each. The last dimension of two is (y, x)."""

    index_R: Tensor
    picture_R: Tensor
    start_R2: Tensor
    cell_R2: Tensor
    samples_R2: Tensor
    num_samples: tuple[int, int]

    def average_entries(self, grid: RoIGrid, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Return the rows of the table that each cell's average sums, and their weights, both (N, Wy * Wx)."""
        y_RPyWy, y_weights_RPyWy = self._axis(0, grid.height, height).merged(height)
        x_RPxWx, x_weights_RPxWx = self._axis(1, grid.width, width).merged(width)
        # A bilinear sample is a product of two weights, so the mean over a grid of samples is one of two means.
        count_R11 = self.samples_R2.prod(dim=1)[:, None, None]
        y_weights_RPyWy = y_weights_RPyWy / count_R11
        rows = (self._first_row(height) + y_RPyWy)[:, :, None, :, None] * width + x_RPxWx[:, None, :, None, :]
        weights = y_weights_RPyWy[:, :, None, :, None] * x_weights_RPxWx[:, None, :, None, :]
        num_entries = y_RPyWy.shape[2] * x_RPxWx.shape[2]
        return rows.view(-1, num_entries).int(), weights.view(-1, num_entries)

    def sample_entries(self, grid: RoIGrid, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return rows and weights (N, Sy * Sx, 4) of each sample, and whether it exists (N, Sy * Sx)."""
        y, x = self._axis(0, grid.height, height), self._axis(1, grid.width, width)
        rows_y = (self._first_row(height)[..., None] + y.pixels_RPS2)[:, :, None, :, None, :, None] * width
        rows = rows_y + x.pixels_RPS2[:, None, :, None, :, None, :]
        weights = y.weights_RPS2[:, :, None, :, None, :, None] * x.weights_RPS2[:, None, :, None, :, None, :]
        num_samples = self.num_samples[0] * self.num_samples[1]
        exists_RS = (y.exists_RS[:, :, None] & x.exists_RS[:, None, :]).view(-1, num_samples)
        exists_NS = exists_RS.repeat_interleave(grid.height * grid.width, dim=0)
        return rows.view(-1, num_samples, 4).int(), weights.view(-1, num_samples, 4), exists_NS

    def _first_row(self, height: int) -> Tensor:
        return (self.picture_R * height)[:, None, None]

    def _axis(self, axis: int, num_cells: int, length: int) -> _Axis:
        start, cell, samples = self.start_R2[:, axis], self.cell_R2[:, axis], self.samples_R2[:, axis]
        place_RPS, exists_R1S = sample_places(start, cell, samples, num_cells, self.num_samples[axis])
        counts_RPS = exists_R1S & (place_RPS >= -1) & (place_RPS <= length)
        place_RPS = torch.where(counts_RPS, place_RPS, 0).clamp(0, length - 1)
        low_RPS = place_RPS.floor()
        past_RPS = place_RPS - low_RPS
        low_RPS = low_RPS.long()
        pixels_RPS2 = torch.stack([low_RPS, (low_RPS + 1).clamp(max=length - 1)], dim=3)
        weights_RPS2 = torch.stack([1 - past_RPS, past_RPS], dim=3) * counts_RPS[..., None]
        return _Axis(pixels_RPS2, weights_RPS2, exists_R1S[:, 0])


def _chunks(rois_R5: Tensor, grid: RoIGrid, channels: int | None = None) -> Iterator[_Chunk]:
    """Yield the regions that have samples, those with most first, a bounded number of samples at a time.

    Args:
        rois_R5: Regions.
        grid: How they are sampled.
        channels: None where samples are averaged; otherwise each sample makes a number per channel.
    """
    rois_R5 = rois_R5.to(torch.promote_types(rois_R5.dtype, torch.float32))
    corners_R22 = rois_R5[:, 1:].reshape(-1, 2, 2).flip(-1) * grid.spatial_scale - (0.5 if grid.aligned else 0.0)
    start_R2, size_R2 = corners_R22[:, 0], corners_R22[:, 1] - corners_R22[:, 0]
    if not grid.aligned:
        size_R2 = size_R2.clamp(min=1)
    cell_R2 = size_R2 / size_R2.new_tensor([grid.height, grid.width])
    samples_R2 = grid.samples_of(size_R2)
    along_y_R, along_x_R = samples_R2.unbind(dim=1)
    numbers_R = along_y_R * along_x_R * channels if channels else (along_y_R + 1) * (along_x_R + 1)
    numbers_R = (numbers_R + 4 * (along_y_R + along_x_R)) * (samples_R2.prod(dim=1) > 0)
    for index_R in chunks_by_size(numbers_R * (grid.height * grid.width)):
        picture_R, most_2 = rois_R5[index_R, 0].long(), samples_R2[index_R].amax(dim=0)
        yield _Chunk(
            index_R, picture_R, start_R2[index_R], cell_R2[index_R], samples_R2[index_R], tuple(most_2.tolist())
        )
