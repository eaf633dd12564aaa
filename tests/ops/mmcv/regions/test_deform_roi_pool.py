"""Deformable RoI pooling against a literal reference, in float64 with autograd."""

import math

import torch

from mmopt.ops.mmcv.regions.deform_roi_pool import deform_roi_pool
from mmopt.ops.mmcv.regions.grid import RoIGrid
from mmopt.ops.mmcv.regions.roi_align import roi_align
from tests.ops.mmcv.reference import assert_equal_with_gradients, read_at


def reference(features, rois, offset, grid, gamma):
    height, width = features.shape[2:]
    cells = []
    for r, roi in enumerate(rois.tolist()):
        left, top, right, bottom = (value * grid.spatial_scale - 0.5 for value in roi[1:])
        cell_height, cell_width = (bottom - top) / grid.height, (right - left) / grid.width
        rows, columns = (grid.sampling_ratio or math.ceil(cell) for cell in (cell_height, cell_width))
        for c in range(features.shape[1]):
            for ph in range(grid.height):
                for pw in range(grid.width):
                    plane = features[int(roi[0]), c]
                    total = plane.sum() * 0 + offset.sum() * 0
                    for i in range(rows):
                        for j in range(columns):
                            y = top + ph * cell_height + (i + 0.5) * cell_height / rows
                            x = left + pw * cell_width + (j + 0.5) * cell_width / columns
                            y = y + gamma * (bottom - top) * offset[r, 1, ph, pw]
                            x = x + gamma * (right - left) * offset[r, 0, ph, pw]
                            if -1 <= y <= height and -1 <= x <= width:
                                total = total + read_at(
                                    features[int(roi[0]), c], y.clamp(0, height - 1), x.clamp(0, width - 1)
                                )
                    cells.append(total / (rows * columns))
    return torch.stack(cells).view(len(rois), -1, grid.height, grid.width)


def test_pooled_features_and_gradients_equal_the_reference_on_200_random_cases():
    for seed in range(200):
        rng = torch.Generator().manual_seed(seed)
        features = torch.randn(2, 1, 3, 4, generator=rng, dtype=torch.float64)
        corners = torch.rand(1 + seed % 2, 2, generator=rng) * 3
        corners = torch.cat([corners, corners + torch.rand(corners.shape, generator=rng) * 3 + 0.2], dim=1) * 2
        rois = torch.cat([torch.randint(0, 2, (len(corners), 1), generator=rng), corners], dim=1)
        grid = RoIGrid(1, 1 + seed % 2, 0.5, (0, 1, 2)[seed % 3], aligned=True)
        offset = torch.randn(len(rois), 2, grid.height, grid.width, generator=rng, dtype=torch.float64) * 3
        inputs = [features.requires_grad_(), offset.requires_grad_()]
        singles = [tensor.detach().float().requires_grad_() for tensor in inputs]
        actual = deform_roi_pool(singles[0], rois, singles[1], grid, 0.1)
        expected = reference(features, rois.double(), offset, grid, 0.1)
        assert_equal_with_gradients(actual, expected, singles, inputs, seed)


def test_without_offsets_it_is_the_aligned_pooling():
    features, grid = torch.randn(2, 3, 8, 9), RoIGrid(3, 2, 0.5, 0, aligned=True)
    rois = torch.tensor([[0, 1.0, 2, 9, 14], [1, 3, 3, 3, 3], [1, -4, 2, 30, 9]])
    torch.testing.assert_close(deform_roi_pool(features, rois, None, grid, 0.1), roi_align(features, rois, grid))
    assert deform_roi_pool(features, rois[:0], None, grid, 0.1).shape == (0, 3, 3, 2)
