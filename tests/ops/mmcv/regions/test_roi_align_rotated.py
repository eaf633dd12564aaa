"""RoIAlign of rotated regions against a literal reference, and against that of upright ones."""

import math

import pytest
import torch

from mmopt.ops.mmcv import chunks
from mmopt.ops.mmcv.regions.grid import RoIGrid
from mmopt.ops.mmcv.regions.roi_align import roi_align, roi_align_backward
from mmopt.ops.mmcv.regions.roi_align_rotated import roi_align_rotated, roi_align_rotated_backward
from tests.ops.mmcv.regions.test_roi_align import corners_of


def reference(features, rois, grid, clockwise, grad):
    channels, height, width = features.shape[1:]
    pooled = torch.zeros(len(rois), channels, grid.height, grid.width, dtype=torch.float64)
    grad_in = torch.zeros_like(features)
    offset = 0.5 if grid.aligned else 0.0
    for r, (picture, x, y, roi_width, roi_height, angle) in enumerate(rois.tolist()):
        center_y, center_x = y * grid.spatial_scale - offset, x * grid.spatial_scale - offset
        roi_height, roi_width = roi_height * grid.spatial_scale, roi_width * grid.spatial_scale
        if not grid.aligned:
            roi_height, roi_width = max(roi_height, 1.0), max(roi_width, 1.0)
        cell_height, cell_width = roi_height / grid.height, roi_width / grid.width
        rows, columns = (grid.sampling_ratio or math.ceil(cell) for cell in (cell_height, cell_width))
        sin, cos = math.sin(-angle if clockwise else angle), math.cos(angle)
        for ph in range(grid.height):
            for pw in range(grid.width):
                for i in range(rows):
                    for j in range(columns):
                        yy = -roi_height / 2 + ph * cell_height + (i + 0.5) * cell_height / rows
                        xx = -roi_width / 2 + pw * cell_width + (j + 0.5) * cell_width / columns
                        place = yy * cos - xx * sin + center_y, yy * sin + xx * cos + center_x
                        for row, column, weight in corners_of(*place, height, width):
                            share = weight / (rows * columns)
                            pooled[r, :, ph, pw] += share * features[int(picture), :, row, column]
                            grad_in[int(picture), :, row, column] += share * grad[r, :, ph, pw]
    return pooled, grad_in


def test_pooled_features_and_gradients_equal_the_reference_on_200_random_cases():
    for seed in range(200):
        rng = torch.Generator().manual_seed(seed)
        height, width = torch.randint(2, 7, (2,), generator=rng).tolist()
        num_rois, scale = seed % 3, (1.0, 0.5)[seed % 2]
        center = torch.rand(num_rois, 2, generator=rng) * 8 / scale
        size = (torch.rand(num_rois, 2, generator=rng) * 4 + 0.1) / scale
        angle = (torch.rand(num_rois, 1, generator=rng) - 0.5) * 8
        picture = torch.randint(0, 2, (num_rois, 1), generator=rng)
        rois = torch.cat([picture, center, size, angle], dim=1)
        grid = RoIGrid(1 + seed % 2, 1 + seed // 2 % 2, scale, (0, 1, 2)[seed % 3], aligned=seed % 4 < 2)
        features = torch.randn(2, 2, height, width, generator=rng, dtype=torch.float64)
        grad = torch.randn(num_rois, 2, grid.height, grid.width, generator=rng, dtype=torch.float64)
        clockwise = seed % 5 < 2
        expected, expected_grad = reference(features, rois.double(), grid, clockwise, grad)
        pooled = roi_align_rotated(features.float(), rois, grid, clockwise)
        grad_in = roi_align_rotated_backward(grad.float(), rois, grid, clockwise, features.shape)
        torch.testing.assert_close(pooled, expected.float(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(grad_in, expected_grad.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('sampling_ratio', [0, 2])
def test_regions_that_are_not_turned_are_upright_ones(sampling_ratio, monkeypatch):
    features = torch.randn(2, 3, 12, 16)
    corners = torch.rand(20, 2) * 10
    corners = torch.cat([corners, corners + torch.rand(20, 2) * 6], dim=1)
    picture = torch.randint(0, 2, (20, 1))
    center, size = (corners[:, 2:] + corners[:, :2]) / 2, corners[:, 2:] - corners[:, :2]
    rois = torch.cat([picture, center, size, torch.zeros(20, 1)], dim=1)
    grid = RoIGrid(3, 2, 1.0, sampling_ratio, aligned=True)
    upright = torch.cat([picture, corners], dim=1)
    monkeypatch.setattr(chunks, 'MAX_NUMBERS', 500)
    expected = roi_align(features, upright, grid)
    torch.testing.assert_close(roi_align_rotated(features, rois, grid, False), expected, rtol=1e-4, atol=1e-4)
    grad = torch.randn_like(expected)
    expected_grad = roi_align_backward(grad, upright, grid, features.shape)
    grad_in = roi_align_rotated_backward(grad, rois, grid, True, features.shape)
    torch.testing.assert_close(grad_in, expected_grad, rtol=1e-4, atol=1e-4)
